"""Packed events: 8 bytes each, and the loops that bin and move them.

A packed event is ``t << 32 | y << 16 | x << 1 | p``: ``t`` in us since the recording began (32
bits, 71 minutes), ``x`` and ``y`` 15 bits, ``p`` one bit, so that sorting the numbers sorts by
time. The loops are numba code without the global interpreter lock; numba is imported at the
first call and the machine code is cached on disk.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WARP_DTYPE = np.dtype(
    [
        ("affine", np.float64, 6),
        ("roll", np.int64, 2),
        ("holes", np.int64, (2, 4)),
        ("gap", np.float64, 2),
        ("key", np.uint64),
        ("rate", np.uint64),
        ("flip", np.bool_),
    ]
)
r"""What happens to the events of one sample, in this order.

``affine`` :math:`(a, b, c, d, e, f)` maps frame coordinates about the frame's centre,
:math:`u' = a u + b v + c`, :math:`v' = d u + e v + f`; what leaves the frame is dropped. ``flip``
mirrors columns. ``roll`` shifts by (columns, rows) and wraps around. ``holes``: rectangles
``(x0, y0, x1, y1)``, half open, that stay empty. ``gap``: from where to where, as fractions of the
sample's duration, events are dropped. ``rate / 2**64``: the probability that an event is dropped,
by a hash of ``key`` and its number.
"""

Packed = NDArray[np.uint64]
Warps = NDArray[np.void]


def identity_warp() -> Warps:
    """One record that moves nothing and drops nothing, shape ``[1]``."""
    warps = np.zeros(1, WARP_DTYPE)
    warps["affine"][:, [0, 4]] = 1.0
    return warps


def bin_events(
    events: Packed,
    offsets: NDArray[np.int64],
    start: NDArray[np.int64],
    span: NDArray[np.int64],
    *,
    out: NDArray[np.float32],
    sensor: tuple[int, int],
    by_time: bool = True,
    width: int = 0,
    warps: Warps | None = None,
) -> None:
    """Count the events of ``B`` samples into ``out [T, B, P, H, W]``, which must come zeroed.

    Args:
        events: packed, sorted by time in each sample ``events[offsets[b]:offsets[b + 1]]``.
        offsets: ``[B + 1]``.
        start: time at which each sample begins, us, in the clock of ``events``.
        span: duration of each sample, us.
        out: contiguous.
        sensor: ``(width, height)`` of the coordinates in ``events``; events outside are skipped.
        by_time: steps of equal duration, otherwise of equal number of events.
        width: duration (us) or events of a step, the rest being left out; 0 divides the
            sample by ``T`` (rounded down) and gives what remains to the last step.
        warps: ``[B]`` records of :data:`WARP_DTYPE`, or ``[1]`` for all.
    """
    from spikesim.kernels import events_numba

    steps, batch, polarities, *size = out.shape
    warps = identity_warp() if warps is None else warps
    if not (out.flags.c_contiguous and len(size) == 2):
        raise ValueError(f"out must be contiguous [T, B, P, H, W], got shape {list(out.shape)}")
    if len(offsets) != batch + 1 or len(start) != batch or len(span) != batch:
        raise ValueError(f"out has {batch} samples; offsets, start, span disagree")
    if len(warps) not in (1, batch):
        raise ValueError(f"warps must be [1] or [{batch}], got [{len(warps)}]")
    if batch and (offsets[0] < 0 or offsets[-1] > len(events) or np.any(np.diff(offsets) < 0)):
        raise ValueError(f"offsets must rise from 0 to {len(events)} events")
    if polarities == 1 and bool(np.bitwise_or.reduce(events) & np.uint64(1)):
        raise ValueError(f"events have two polarities, frames {polarities}")
    lookup = np.empty(sensor[0] * sensor[1], np.int32)
    flat = out.reshape(steps, batch, polarities, size[0] * size[1])
    events_numba.bin_forward(
        events, offsets, start, span, by_time, width, sensor, warps, lookup, tuple(size), flat
    )


def warp_events(
    events: Packed,
    start: int,
    span: int,
    warp: np.void,
    sensor: tuple[int, int],
    size: Sequence[int],
) -> Packed:
    """The events of one sample after one record ``warp``, in coordinates of a frame ``(H, W)``."""
    from spikesim.kernels import events_numba

    out = np.empty_like(events)
    lookup = np.empty(sensor[0] * sensor[1], np.int32)
    kept = events_numba.warp_forward(
        events, start, span, sensor, warp, lookup, (size[0], size[1]), out
    )
    return out[:kept]
