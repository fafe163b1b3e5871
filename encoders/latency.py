"""Latency code: one spike, the earlier the larger the value."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spikesim.encoders.base import Encoder, check_range, one_spike
from spikesim.errors import UserError

Form = Literal["linear", "rc"]


@dataclass(frozen=True)
class Latency(Encoder):
    r"""Time to first spike: at most one spike per value, none up to the threshold.

    .. math::
        t = (1 - x)(T - 1) \;\text{(linear, rounded)}, \qquad
        t = \tau \ln\frac{x}{x - \theta} \;\text{(rc)}

    ``"rc"`` is the time at which a capacitor charged with constant ``x`` reaches the threshold;
    the spike falls into the step ``ceil(t) - 1`` that ends at or after it, the very step in which
    ``LIF(tau, v_threshold=threshold, leak="exact")`` first fires. Later than T: no spike.

    Args:
        steps: number of steps T.
        form: ``"linear"`` or ``"rc"``.
        threshold: :math:`\theta`; values up to it give no spike. In [0, 1), above 0 for ``"rc"``.
        tau: time constant of ``"rc"``, steps, > 0.

    Shape: ``x [B, ...]`` in [0, 1] -> spikes ``[T, B, ...]``, 0 or 1.

    Raises:
        UserError: a parameter or value out of its range.

    Reference: Thorpe, Delorme and Van Rullen (2001), rank and latency codes.

    >>> Latency(steps=3)(torch.tensor([1.0, 0.5, 0.1, 0.0])).T.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """

    form: Form = "linear"
    threshold: float = 0.0
    tau: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in ("linear", "rc"):
            raise UserError(f"form must be 'linear' or 'rc', got {self.form!r}")
        if not 0.0 <= self.threshold < 1.0 or (self.form == "rc" and self.threshold == 0.0):
            raise UserError(
                f"threshold must lie in [0, 1), above 0 for form='rc', got {self.threshold}"
            )
        if not self.tau > 0:
            raise UserError(f"tau must be > 0 steps, got {self.tau}")

    def times(self, x: Tensor) -> Tensor:
        """The step of each spike ``[B, ...]``, a whole number; infinite where there is none."""
        value = check_range(x)
        fires = value > self.threshold
        if self.form == "linear":
            t = torch.round((1.0 - value) * (self.steps - 1))
        else:
            excess = torch.where(fires, value - self.threshold, 1.0)
            t = (torch.ceil(self.tau * torch.log(value / excess)) - 1.0).clamp(min=0.0)
        return torch.where(fires & (t < self.steps), t, torch.inf)

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes ``[T, B, ...]`` for the values ``x [B, ...]``."""
        return one_spike(self.times(x), self.steps, x.dtype)
