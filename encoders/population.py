"""Population code: a value as the pattern over neurons with overlapping receptive fields."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import Encoder, check_range, one_spike
from spikesim.errors import UserError


@dataclass(frozen=True)
class Population(Encoder):
    r"""Gaussian receptive fields: each of M neurons fires the earlier, the nearer the value.

    .. math::
        r_i = e^{-(x - \mu_i)^2 / 2\sigma^2}, \quad
        \mu_i = a + \frac{2i - 3}{2}\,\frac{b - a}{M - 2}, \quad
        \sigma = \frac{b - a}{\gamma (M - 2)}, \quad t_i = \lfloor (1 - r_i)\, T \rfloor

    for :math:`i = 1 \dots M` on the range [a, b]; no spike where :math:`r_i` is below the cutoff.

    Args:
        steps: number of steps T.
        neurons: neurons per value M, >= 3.
        low, high: the range [a, b] of the values.
        gamma: narrowness of the fields, > 0; published: 1 to 2.
        cutoff: weakest response that fires, in (0, 1].

    Shape: ``x [B, ...]`` in [low, high] -> spikes ``[T, B, ..., M]``, 0 or 1.

    Raises:
        UserError: a parameter or value out of its range.

    Reference: Bohte, Kok and La Poutré (2002), SpikeProp.

    >>> spikes = Population(steps=10, neurons=5)(torch.tensor([0.5]))
    >>> spikes[:, 0].argmax(0).tolist(), spikes[:, 0].sum(0).tolist()
    ([0, 6, 0, 6, 0], [0.0, 1.0, 1.0, 1.0, 0.0])
    """

    neurons: int = 10
    low: float = 0.0
    high: float = 1.0
    gamma: float = 1.5
    cutoff: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neurons < 3:
            raise UserError(f"neurons must be >= 3, got {self.neurons}")
        if not self.low < self.high:
            raise UserError(f"low must be < high, got {self.low} and {self.high}")
        if not self.gamma > 0:
            raise UserError(f"gamma must be > 0, got {self.gamma}")
        if not 0 < self.cutoff <= 1:
            raise UserError(f"cutoff must lie in (0, 1], got {self.cutoff}")

    def responses(self, x: Tensor) -> Tensor:
        """The response ``r [B, ..., M]`` of each neuron, in (0, 1], float32 or wider."""
        value = check_range(x, self.low, self.high)
        spacing = (self.high - self.low) / (self.neurons - 2)
        i = torch.arange(1, self.neurons + 1, dtype=value.dtype, device=x.device)
        distance = value.unsqueeze(-1) - (self.low + (i - 1.5) * spacing)  # [B, ..., M]
        return torch.exp(-0.5 * (distance * self.gamma / spacing) ** 2)

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes ``[T, B, ..., M]`` for the values ``x [B, ...]``."""
        r = self.responses(x)
        t = torch.where(r >= self.cutoff, torch.floor((1.0 - r) * self.steps), torch.inf)
        return one_spike(t, self.steps, x.dtype)
