"""Making events from columns; clocks that wrap around; sensors that a file does not name."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.source import EVENT_DTYPE, Events

Size: TypeAlias = tuple[int, int, int]
"""``(W, H, P)``: width and height in pixels, number of polarities."""

ATIS_GEN1 = (304, 240)
PROPHESEE_ARRAYS = (ATIS_GEN1, (640, 480), (1280, 720))
"""Pixel arrays of Prophesee's sensors, for files whose header names none."""


def make_events(t: Any, x: Any, y: Any, p: Any) -> Events:
    """One structured array from four columns; a polarity above 0 is ON."""
    events = np.empty(len(t), EVENT_DTYPE)
    events["t"], events["x"], events["y"] = t, x, y
    events["p"] = np.asarray(p) > 0
    return events


def unwrap(t: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Times of a clock of so many bits made monotonic: half its range back is a wrap-around.

    >>> unwrap(np.array([14, 15, 1, 2]), bits=4).tolist()
    [14, 15, 17, 18]
    """
    wraps = np.cumsum(np.diff(t, prepend=t[:1]) < -(1 << bits - 1))
    return t + (wraps << bits)


def smallest(arrays: tuple[tuple[int, int], ...], events: Events) -> Size:
    """The first of ``arrays`` (smallest first) that holds all events, else the last."""
    for width, height in arrays:
        if events["x"].max(initial=0) < width and events["y"].max(initial=0) < height:
            return width, height, 2
    return *arrays[-1], 2
