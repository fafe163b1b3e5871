"""Making events from columns, and the checks that each recording passes before it is used."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.source import EVENT_DTYPE, Events
from spikesim.errors import UserError

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


def check_events(events: Events, sensor_size: Size, where: str | Path, *, sort: bool) -> Events:
    """``events`` if all lie inside the sensor and time never runs backwards.

    Args:
        events: ``[N]`` events.
        sensor_size: ``(W, H, P)``.
        where: what to call them in an error, usually the path of the file.
        sort: sort by time (equal times keep their order) where time runs backwards.

    Raises:
        UserError: no events, one outside the sensor, or unsorted ones without ``sort``.
    """
    if not len(events):
        raise UserError(f"{where}: no events in it; record again or leave this file out")
    width, height, _ = sensor_size
    x, y = events["x"], events["y"]
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        i = int(outside.argmax())
        raise UserError(
            f"{where}: event {i} lies at x={x[i]}, y={y[i]}, outside the sensor of "
            f"{width}x{height}; name the right sensor_size, or repair the file"
        )
    backwards = np.diff(events["t"]) < 0
    if backwards.any():
        if sort:
            return events[np.argsort(events["t"], kind="stable")]
        i = int(backwards.argmax()) + 1
        raise UserError(
            f"{where}: time runs backwards at event {i} ({events['t'][i]} us after "
            f"{events['t'][i - 1]} us); if order alone is wrong, read it with "
            "read_events(path, sort=True) and keep it with write_npz"
        )
    return events
