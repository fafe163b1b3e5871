"""Events to packed numbers and back, with every check on what a file holds."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets.source import EVENT_DTYPE, Events
from spikesim.errors import UserError
from spikesim.kernels.events import Packed

PACKED_DTYPE = np.dtype("<u8")
LONGEST_US = 2**32 - 1

Column: TypeAlias = NDArray[np.integer]


def pack(events: Events, sensor_size: tuple[int, int, int], name: str) -> tuple[Packed, int]:
    """The packed events of one recording, and the time of its first event, us.

    Args:
        events: structured, with the fields ``t x p`` and, for sensors of more than one row, ``y``.
        sensor_size: ``(W, H, P)``; with ``P = 1`` polarities are not told apart.
        name: of the recording, for messages.

    Raises:
        UserError: events outside the sensor, unsorted times, or a recording of over 71 minutes.
    """
    if events.dtype.names is None or not {"t", "x", "p"} <= set(events.dtype.names):
        raise UserError(f"{name}: events need the fields t, x, y, p, got {events.dtype}")
    if len(events) == 0:
        return np.empty(0, np.uint64), 0
    t = events["t"].astype(np.int64)
    x = events["x"].astype(np.int64)
    y = events["y"].astype(np.int64) if "y" in events.dtype.names else np.zeros_like(x)
    check_events(t, x, y, sensor_size, name)
    if t[-1] - t[0] > LONGEST_US:
        raise UserError(
            f"{name}: lasts {(t[-1] - t[0]) / 6e7:.0f} minutes, at most 71 can be packed; cut it"
        )
    p = events["p"].astype(np.int64) > 0 if sensor_size[2] > 1 else np.zeros(len(t), np.bool_)
    packed = (t - t[0]) << 32 | y << 16 | x << 1 | p
    return packed.view(np.uint64), int(t[0])


def check_events(
    t: Column, x: Column, y: Column, sensor_size: tuple[int, int, int], name: str | Path
) -> None:
    """Refuse a recording without events, events outside the sensor, and time running backwards.

    Raises:
        UserError: naming the recording and the first such event.
    """
    if not len(t):
        raise UserError(f"{name}: no events in it; record again or leave this file out")
    t, x, y = (column.astype(np.int64, copy=False) for column in (t, x, y))
    width, height, _ = sensor_size
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        i = int(outside.argmax())
        raise UserError(
            f"{name}: {int(outside.sum())} of {len(x)} events lie outside the sensor of "
            f"{width} x {height}, the first is event {i} at x={x[i]}, y={y[i]}; "
            "it is of another sensor (sensor_size), or damaged"
        )
    backwards = np.diff(t) < 0
    if backwards.any():
        i = int(backwards.argmax()) + 1
        raise UserError(
            f"{name}: time runs backwards at event {i} ({t[i]} us after {t[i - 1]} us); if order "
            "alone is wrong, read it with read_events(path, sort=True) and keep it with write_npz"
        )


def unpack(packed: Packed, origin: int = 0) -> Events:
    """The structured events ``t x y p`` of packed ones; ``origin`` is added to the times."""
    events = np.empty(len(packed), EVENT_DTYPE)
    events["t"] = (packed >> np.uint64(32)).astype(np.int64) + origin
    events["x"] = (packed >> np.uint64(1)) & np.uint64(0x7FFF)
    events["y"] = (packed >> np.uint64(16)) & np.uint64(0x7FFF)
    events["p"] = packed & np.uint64(1)
    return events
