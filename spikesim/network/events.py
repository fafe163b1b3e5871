"""Recordings of event cameras as spikes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.given import whole

Shape = tuple[int, int, int]


def spikes_of(
    events: NDArray[Any], sensor_size: Shape
) -> tuple[NDArray[np.float64], NDArray[np.int64], Shape]:
    """Times in ms, senders, and the shape ``(P, H, W)`` of the population that they count through.

    Args:
        events: with the fields ``t`` (us), ``x``, ``y`` and ``p``.
        sensor_size: ``(W, H, P)``.

    Raises:
        UserError: other fields, or events outside of the sensor.
    """
    names = events.dtype.names if isinstance(events, np.ndarray) else None
    if not {"t", "x", "y", "p"} <= set(names or ()):
        raise UserError(f"events must be an array with the fields t, x, y and p, got {names}")
    if np.shape(sensor_size) != (3,):
        raise UserError(f"sensor_size must be (W, H, P), got {sensor_size!r}")
    wide, high, polarities = (whole("each entry of sensor_size", n, 1) for n in sensor_size)
    shape = (polarities, high, wide)
    place = (events["p"].astype(np.int64), events["y"], events["x"])
    if any(((p < 0) | (p >= n)).any() for p, n in zip(place, shape, strict=True)):
        raise UserError(f"events lie outside of a sensor of (W, H, P) = {sensor_size}")
    return events["t"] * 1e-3, np.ravel_multi_index(place, shape), shape
