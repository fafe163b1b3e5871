"""Rows of a network's run: compiled functions with their tables, and where threads wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.engine import Modulation, Source


@dataclass(eq=False)
class Row:
    """A compiled function that is called in each block, and what its table holds.

    Args:
        function: a C function of numba's.
        entries: numbers, and arrays for their addresses.
    """

    function: Any
    entries: tuple[int | NDArray[Any], ...]
    kept: Any = None
    """What an address among the numbers leads to."""
    reads: Source | Modulation | None = None
    """Whose lists of spikes, or levels, every thread reads."""
    writes: Source | Modulation | None = None
    """Whose lists of spikes, or levels, every thread writes its own of."""
    is_alone: bool = False
    """Whether nothing else may run meanwhile."""
    _tables: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def table(self, thread: int, instead: Mapping[int, NDArray[Any]]) -> NDArray[np.int64]:
        """The table of a thread that has other arrays instead of those of these ids; made once."""
        if thread not in self._tables:
            entries = [_number(instead.get(id(e), e)) for e in self.entries]
            self._tables[thread] = np.array(entries, np.int64)
        return self._tables[thread]


def row_of(function: Any, *entries: int | NDArray[Any]) -> Row:
    """A function with its entries."""
    assert all(e.flags.c_contiguous for e in entries if isinstance(e, np.ndarray))
    return Row(function, entries)


def _number(entry: int | NDArray[Any]) -> int:
    return int(entry.ctypes.data) if isinstance(entry, np.ndarray) else int(entry)


def waits(rows: Sequence[Row]) -> list[bool]:
    """Before which rows all threads wait: lists are whole when read, and read when written anew."""
    found = [False] * len(rows)
    written: set[Source | Modulation] = set()
    read: set[Source | Modulation] = set()
    for k in (*range(len(rows)), *range(len(rows))):  # the second block follows the first
        row = rows[k]
        if row.is_alone or rows[k - 1].is_alone or row.reads in written or row.writes in read:
            found[k] = True
            written.clear()
            read.clear()
        if row.reads is not None:
            read.add(row.reads)
        if row.writes is not None:
            written.add(row.writes)
    return found
