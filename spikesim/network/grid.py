"""The grid of steps: durations as whole steps of ``dt``."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError

TOLERANCE = 1e-6
"""How far from a whole number of steps a duration may lie: 0.3 / 0.1 is 2.9999999999999996."""


def whole_steps(ms: ArrayLike, dt: float, what: str) -> NDArray[np.int64]:
    """Durations in steps of ``dt``.

    Args:
        ms: one duration or an array, ms.
        dt: length of a step, ms.
        what: its name, for errors.

    Raises:
        UserError: a duration is negative, not finite, or no multiple of ``dt`` within 1e-6 of its
            steps.

    >>> int(whole_steps(1.5, 0.1, "delay"))
    15
    """
    given = np.asarray(ms, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # infinite - infinite
        steps = np.rint(given / dt)
        off = ~(np.abs(given / dt - steps) <= TOLERANCE * np.maximum(steps, 1.0))
    wrong = off | (given < 0)
    if wrong.any():
        value, near = float(given[wrong].flat[0]), float(steps[wrong].flat[0]) * dt
        if not np.isfinite(value) or value < 0:
            wish = "finite and not negative"
        elif value < dt:
            wish = f"0 or at least one step, dt = {dt} ms"
        else:
            wish = f"a multiple of dt = {dt} ms, such as {near:.6g} ms"
        raise UserError(f"{what} must be {wish}, got {value} ms")
    return np.asarray(steps, dtype=np.int64)
