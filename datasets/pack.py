"""Events to packed numbers and back, with every check on what a file holds."""

import numpy as np

from spikesim.datasets.source import EVENT_DTYPE, Events
from spikesim.errors import UserError
from spikesim.kernels.events import Packed

PACKED_DTYPE = np.dtype("<u8")
LONGEST_US = 2**32 - 1


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
    width, height, polarities = sensor_size
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        i = int(outside.argmax())
        raise UserError(
            f"{name}: {int(outside.sum())} of {len(x)} events lie outside the {width} x {height} "
            f"sensor, the first is event {i} at x={x[i]}, y={y[i]}; check the file or sensor_size"
        )
    back = np.diff(t) < 0
    if back.any():
        i = int(back.argmax()) + 1
        raise UserError(
            f"{name}: timestamps are not sorted, event {i} is at {t[i]} us after {t[i - 1]} us; "
            "sort the events by t (stable) or check the file"
        )
    if t[-1] - t[0] > LONGEST_US:
        raise UserError(
            f"{name}: lasts {(t[-1] - t[0]) / 6e7:.0f} minutes, at most 71 can be packed; cut it"
        )
    p = events["p"].astype(np.int64) > 0 if polarities > 1 else np.zeros(len(t), np.bool_)
    packed = (t - t[0]) << 32 | y << 16 | x << 1 | p
    return packed.view(np.uint64), int(t[0])


def unpack(packed: Packed, origin: int = 0) -> Events:
    """The structured events ``t x y p`` of packed ones; ``origin`` is added to the times."""
    events = np.empty(len(packed), EVENT_DTYPE)
    events["t"] = (packed >> np.uint64(32)).astype(np.int64) + origin
    events["x"] = (packed >> np.uint64(1)) & np.uint64(0x7FFF)
    events["y"] = (packed >> np.uint64(16)) & np.uint64(0x7FFF)
    events["p"] = packed & np.uint64(1)
    return events
