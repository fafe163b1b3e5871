"""What processes that share a network keep of it, and tell each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def own_synapses(
    indptr: NDArray[np.int64],
    place: Array,
    weight: Array | None,
    *,
    neurons: int,
    first: int,
    count: int,
    slots: int,
) -> tuple[NDArray[np.int64], Array, Array | None]:
    """The synapses onto ``count`` neurons from ``first`` on.

    Args:
        indptr, place, weight: as those of :class:`~spikesim.kernels.engine.Delivery`.
        neurons: of the population.
        first, count: those to keep.
        slots: 1 more than the longest delay in ``place``, which counts in ``count`` afterwards.
    """
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
    return kept, places, weights
