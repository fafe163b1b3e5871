"""What processes that share a network keep of it, and tell each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.builder import Array

if TYPE_CHECKING:
    from spikesim.kernels.engine import Cells, Received


@dataclass(frozen=True, eq=False)
class Member:
    """A population that processes share."""

    own: "Cells"
    """Those that run here; there may be none."""
    received: "Received"
    """All of them."""
    limits: tuple[int, ...]
    """Where the neurons of each process begin, and the last ones end; multiples of 32 inside."""


@dataclass(eq=False)
class Exchanged:
    """The spikes of what comes before it, for all processes, on CUDA devices; all run it as often.

    What is :class:`~spikesim.kernels.engine.Received` comes after it.
    """

    members: Sequence[Member]
    rank: int
    """Of this process."""
    block: int
    """Steps from one exchange to the next, a power of two; no delivery is shorter."""
    gather: Callable[[Tensor, Tensor], None]
    """Given a row, fills the rows of all processes; may be called while a graph is captured."""


def own_synapses(
    indptr: Array,
    place: Array,
    weight: Array | None,
    *,
    neurons: int,
    first: int,
    count: int,
    slots: int,
) -> tuple[Array, Array, Array | None, Array]:
    """The synapses onto ``count`` neurons from ``first`` on, where the arrays lie.

    Args:
        indptr, place, weight: as those of :class:`~spikesim.kernels.engine.Delivery`.
        neurons: of the population.
        first, count: those to keep.
        slots: 1 more than the longest delay in ``place``, which counts in ``count`` afterwards.

    Returns:
        ``indptr``, ``place`` and ``weight`` of those, and where they began in each row.
    """
    if isinstance(place, Tensor):
        return _own_tensors(indptr, place, weight, neurons, first, count, slots)
    from spikesim.kernels.deliver_numba import cut
    from spikesim.kernels.exchange_numba import keep

    limits = np.array([0, first, first + count, neurons])
    cuts = np.empty((len(limits), len(indptr) - 1), np.int64)
    assert cut(place, indptr, neurons, slots > 1, limits, cuts) < 0, "targets of a row ascend"
    starts, stops = cuts[1], cuts[2]
    kept = np.append(0, np.cumsum(stops - starts))
    places = np.empty(kept[-1], np.uint16 if slots * count <= 2**16 else np.uint32)
    weights = None if weight is None else np.empty(kept[-1], weight.dtype)
    nothing = np.empty(0)
    given, new = (nothing if values is None else values for values in (weight, weights))
    keep(place, given, starts, stops, neurons, first, count, places, new)
    return kept, places, weights, starts


def _own_tensors(
    indptr: Tensor,
    place: Tensor,
    weight: Tensor | None,
    neurons: int,
    first: int,
    count: int,
    slots: int,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    # Torch computes with a sign only; 32 and 16 bits of it are the same ones.
    size = place.element_size()
    places = place.view({2: torch.int16, 4: torch.int32}[size]).to(torch.int64)
    places &= (1 << 8 * size) - 1
    delay, target = places // neurons, places % neurons
    is_own = (target >= first) & (target < first + count)
    below, own = (
        torch.cat([mask.new_zeros(1, dtype=torch.int64), mask.cumsum(0)])[indptr]
        for mask in (target < first, is_own)
    )
    kept = (delay * count + target - first)[is_own]
    signed, kind = (
        (torch.int16, torch.uint16) if slots * count <= 2**16 else (torch.int32, torch.uint32)
    )
    return (
        own,
        kept.to(signed).view(kind),
        None if weight is None else weight[is_own],
        (indptr[:-1] + below.diff()),
    )
