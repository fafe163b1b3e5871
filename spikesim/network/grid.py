"""The grid of steps: durations as whole steps of ``dt``."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.network.given import real, reals

LONGEST = 2**62
"""Steps; more would not stay below 2**63 when some are added."""
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
    given = reals(what, ms)
    steps = np.rint(given / dt)
    off = np.abs(given / dt - steps) > TOLERANCE * np.maximum(steps, 1.0)
    wrong = off | (given < 0) | (steps > LONGEST)
    if wrong.any():
        value, near = float(given[wrong].flat[0]), float(steps[wrong].flat[0]) * dt
        if value < 0:
            wish = "finite and not negative"
        elif near > LONGEST * dt:
            wish = f"at most 2**62 steps of dt = {dt} ms"
        elif value < dt:
            wish = f"0 or at least one step, dt = {dt} ms"
        else:
            wish = f"a multiple of dt = {dt} ms, such as {near:.6g} ms"
        raise UserError(f"{what} must be {wish}, got {value} ms")
    return np.asarray(steps, dtype=np.int64)


def step_size(dt: float) -> float:
    """A ``dt`` that can be: positive, and such that times and decays are far from overflow.

    Raises:
        UserError: another one.
    """
    found = real("dt", dt, "> 0 ms and finite")
    if not 1e-9 <= found <= 1e9:
        raise UserError(f"dt must be > 0 ms, from 1e-9 to 1e9, got {dt}")
    return found


def period(every: float, dt: float) -> int:
    """Steps from one time to the next, one at least.

    Raises:
        UserError: ``every`` is 0 or no multiple of ``dt``.
    """
    steps = int(whole_steps(real("every", every), dt, "every"))
    if steps < 1:
        raise UserError(f"every must be at least one step, dt = {dt} ms, got {every} ms")
    return steps
