"""The classical Runge-Kutta step of fourth order."""

from collections.abc import Callable
from typing import Any

from spikesim.types import Named


def rk4(slope: Callable[[Named, float], Named], y: Named, dt: float) -> Named:
    """``y`` after a step.

    Args:
        slope: the derivatives of ``y``, given it and the part of the step gone: 0, 1/2 or 1.
        y: variables at the beginning of the step.
        dt: length of the step.
    """

    def moved(k: Named, by: float) -> Named:
        return Named({name: value + k[name] * by for name, value in y.items()})

    k1 = slope(y, 0.0)
    k2 = slope(moved(k1, 0.5 * dt), 0.5)
    k3 = slope(moved(k2, 0.5 * dt), 0.5)
    k4 = slope(moved(k3, dt), 1.0)

    def mean(name: str) -> Any:
        return k1[name] + 2.0 * (k2[name] + k3[name]) + k4[name]

    return Named({name: value + mean(name) * (dt / 6.0) for name, value in y.items()})
