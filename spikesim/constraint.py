"""Ranges of parameters, and the maps that keep learnable ones inside."""

from dataclasses import dataclass

import torch
from torch import Tensor


class Constraint:
    """How a learnable parameter stays in its range: an unbounded raw value and a map."""

    wish = "any finite number"

    def holds(self, value: Tensor) -> Tensor:
        """Where ``value`` lies inside the range."""
        return torch.isfinite(value)

    def value(self, raw: Tensor) -> Tensor:
        """The parameter from its raw value."""
        return raw

    def raw(self, value: Tensor) -> Tensor:
        """The raw value of a parameter."""
        return value


class Positive(Constraint):
    """``value = exp(raw)``, above 0."""

    wish = "> 0"

    def holds(self, value: Tensor) -> Tensor:
        """Where ``value`` is finite and above 0."""
        return torch.isfinite(value) & (value > 0)

    def value(self, raw: Tensor) -> Tensor:
        """``exp(raw)``."""
        return raw.exp()

    def raw(self, value: Tensor) -> Tensor:
        """``log(value)``."""
        return value.log()


class NotNegative(Constraint):
    """A fixed value, 0 or above."""

    wish = ">= 0"

    def holds(self, value: Tensor) -> Tensor:
        """Where ``value`` is finite and at least 0."""
        return torch.isfinite(value) & (value >= 0)


class Fraction(Constraint):
    """``value = sigmoid(raw)``, between 0 and 1; a fixed value may be either of them."""

    wish = "between 0 and 1"

    def holds(self, value: Tensor) -> Tensor:
        """Where ``value`` lies in [0, 1]."""
        return (value >= 0) & (value <= 1)

    def value(self, raw: Tensor) -> Tensor:
        """``sigmoid(raw)``."""
        return raw.sigmoid()

    def raw(self, value: Tensor) -> Tensor:
        """``log(value / (1 - value))``."""
        return value.logit()


@dataclass(frozen=True)
class TimeConstant(Constraint):
    r"""``value = dt (1 + exp(-raw))``, above ``dt``, so that an Euler leak stays in (0, 1).

    ``raw`` is the ``w`` of PLIF: :math:`dt/\tau = \mathrm{sigmoid}(w)` (Fang et al., 2021).
    """

    dt: float

    @property
    def wish(self) -> str:  # type: ignore[override]
        """The range in words."""
        return f">= dt = {self.dt} (Euler leak 1 - dt/tau; use leak='exact' below that)"

    def holds(self, value: Tensor) -> Tensor:
        """Where ``value`` is at least ``dt`` (infinite: no leak)."""
        return value >= self.dt

    def value(self, raw: Tensor) -> Tensor:
        """``dt / sigmoid(raw)``, in the form whose gradient stays finite for slow leaks."""
        value = 1.0 + torch.exp(-raw)
        return value if self.dt == 1.0 else self.dt * value

    def raw(self, value: Tensor) -> Tensor:
        """``-log(value / dt - 1)``."""
        return -torch.log(value / self.dt - 1.0)
