"""Trains of a two-state Markov chain: a rate, and a memory of one step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import Encoder, check_range
from spikesim.errors import UserError


@dataclass(frozen=True)
class Markov(Encoder):
    r"""Rate code whose spikes follow or avoid each other: a stationary two-state Markov chain.

    A value ``x`` is the probability of a spike in a step, and :math:`\rho` the correlation of
    neighbouring steps, so that

    .. math::
        P(1 | 0) = x (1 - \rho), \quad P(0 | 1) = (1 - x)(1 - \rho), \quad
        \mathrm{corr}(s_t, s_{t+k}) = \rho^k

    With :math:`\rho` = 0 all steps are independent: Bernoulli trains, as those of
    :class:`~spikesim.encoders.rate.Rate`. Trains of one rate and several :math:`\rho` have equal
    counts of spikes on average, and different entropies
    (:func:`spikesim.complexity.markov_entropy`).

    Args:
        steps: number of steps T.
        correlation: :math:`\rho`, below 1; above 0 for bursts. Below 0, at least
            ``-min(x / (1 - x), (1 - x) / x)``, so that both probabilities stay below 1.

    Shape: ``x [B, ...]`` in [0, 1] -> spikes ``[T, B, ...]``, 0 or 1. The draw is a pure function
    of ``generator``, which must live on the device of ``x``; ``None`` uses torch's global one.

    Raises:
        UserError: a parameter or value out of its range.

    Reference: a first-order chain, as in T. M. Cover & J. A. Thomas, *Elements of Information
    Theory* (2006), section 4.1.

    >>> Markov(steps=6, correlation=-1.0)(torch.tensor([0.5])).diff(dim=0).abs().flatten().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    correlation: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.correlation < 1:
            raise UserError(f"correlation must be >= -1 and < 1, got {self.correlation}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw spikes ``[T, B, ...]`` for the values ``x [B, ...]``."""
        p = check_range(x)
        rise, fall = p * (1 - self.correlation), (1 - p) * (1 - self.correlation)
        if self.correlation < 0 and not bool((torch.maximum(rise, fall) <= 1).all()):
            raise UserError(
                f"correlation {self.correlation} is too far below 0 for values from {p.min():g} to "
                f"{p.max():g}: at least -min(x / (1 - x), (1 - x) / x)"
            )
        u = torch.rand(self.steps, *p.shape, generator=generator, dtype=p.dtype, device=p.device)
        from_0, from_1 = u < rise, u < 1 - fall
        spikes = torch.empty(u.shape, dtype=torch.bool, device=p.device)
        spikes[0] = u[0] < p
        for t in range(1, self.steps):
            spikes[t] = torch.where(spikes[t - 1], from_1[t], from_0[t])
        return spikes.to(x.dtype)
