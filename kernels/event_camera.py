"""The pixels of an event camera over one interval of a video.

The loop below is plain Python over plain arrays; numba compiles that very text at the first call
and keeps the machine code on disk. Legend: arrays are flat over pixels ``[H * W]``, float64.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Crossings: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


def crossings(
    log: tuple[Array, Array],
    span_us: tuple[float, float],
    thresholds: tuple[Array, Array],
    refractory_us: float,
    reference: Array,
    last_us: Array,
) -> Crossings:
    """Events ``(t, pixel, p)`` while log intensity runs in a straight line from one sample on.

    Args:
        log: log intensity at the start and at the end of the interval.
        span_us: the two times.
        thresholds: ON and OFF threshold of each pixel, > 0.
        refractory_us: a crossing sooner than this after the pixel's last event is lost.
        reference: level at each pixel's last crossing; **updated in place**.
        last_us: time of each pixel's last event; **updated in place**.

    Returns:
        Pixel by pixel and within a pixel by time; times rounded down to whole microseconds.
    """
    found: Crossings = _compiled()(*log, *span_us, *thresholds, refractory_us, reference, last_us)
    return found


@cache
def _compiled() -> Callable[..., Any]:
    from numba import njit

    compiled: Callable[..., Any] = njit(cache=True, nogil=True)(interval_crossings)
    return compiled


def interval_crossings(
    log0: Array,
    log1: Array,
    start_us: float,
    end_us: float,
    on: Array,
    off: Array,
    refractory_us: float,
    reference: Array,
    last_us: Array,
) -> Crossings:
    """The text that numba compiles; see :func:`crossings`."""
    bound = 0
    for i in range(log1.size):
        change = log1[i] - reference[i]
        threshold = on[i] if change > 0 else off[i]
        # one more: repeated addition may round past what the quotient says
        bound += int(abs(change) / threshold) + 1 if abs(change) >= threshold else 0
    t = np.empty(bound, np.int64)
    pixel = np.empty(bound, np.int64)
    p = np.empty(bound, np.bool_)
    n = 0
    for i in range(log1.size):
        rises = log1[i] > reference[i]
        threshold = on[i] if rises else off[i]
        while abs(log1[i] - reference[i]) >= threshold and (log1[i] > reference[i]) == rises:
            reference[i] += threshold if rises else -threshold
            share = (reference[i] - log0[i]) / (log1[i] - log0[i])
            when = start_us + min(max(share, 0.0), 1.0) * (end_us - start_us)
            if when - last_us[i] >= refractory_us:
                last_us[i] = when
                t[n] = int(np.floor(when))
                pixel[n] = i
                p[n] = rises
                n += 1
    return t[:n], pixel[:n], p[:n]
