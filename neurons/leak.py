"""How a time constant becomes the fraction lost in one step."""

from typing import Literal

from torch import Tensor

from spikesim.constraint import Constraint, Positive, TimeConstant
from spikesim.errors import UserError
from spikesim.ops import exp
from spikesim.types import Number

Leak = Literal["euler", "exact"]
"""``"euler"``: :math:`dt/\\tau`; ``"exact"``: :math:`1 - e^{-dt/\\tau}`."""


def leak_constraint(leak: Leak, dt: float) -> Constraint:
    """The range of a time constant: at least ``dt`` for Euler's rule, else above 0."""
    if leak not in ("euler", "exact"):
        raise UserError(f"leak must be 'euler' or 'exact', got {leak!r}")
    return TimeConstant(dt) if leak == "euler" else Positive()


def leak_fraction(leak: Leak, dt: float, tau: Number) -> Number:
    """The fraction lost in a step of ``dt``."""
    if leak == "euler" and dt == 1.0 and isinstance(tau, Tensor):
        return tau.reciprocal()  # torch multiplies this by 1, and in backward once more
    fraction: Number = dt / tau if leak == "euler" else 1.0 - exp(-dt / tau)
    return fraction
