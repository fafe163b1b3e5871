"""Rows of a network's run: compiled functions with their tables, and where threads wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.engine import Modulation, Source


@dataclass(eq=False)
class Row:
    """A compiled function that is called in each block, and its table."""

    function: Any
    table: NDArray[np.int64]
    kept: tuple[Any, ...]
    """What the table points to."""
    reads: Source | Modulation | None = None
    """Whose lists of spikes, or levels, every thread reads."""
    writes: Source | Modulation | None = None
    """Whose lists of spikes, or levels, every thread writes its own of."""
    is_alone: bool = False
    """Whether nothing else may run meanwhile."""


def row_of(function: Any, *entries: int | NDArray[Any]) -> Row:
    """A function with a table of numbers, and of the addresses of arrays."""
    kept = tuple(entry for entry in entries if isinstance(entry, np.ndarray))
    assert all(array.flags.c_contiguous for array in kept)
    numbers = (e.ctypes.data if isinstance(e, np.ndarray) else int(e) for e in entries)
    return Row(function, np.array(list(numbers), np.int64), kept)


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
