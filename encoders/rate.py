"""Rate code: spikes drawn at random, the more the larger the value."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spikesim.encoders.base import Encoder, check_range
from spikesim.errors import UserError

Law = Literal["bernoulli", "poisson", "counts"]


@dataclass(frozen=True)
class Rate(Encoder):
    r"""Rate code: independent draws in each step, with mean rate :math:`x f_\mathrm{max}`.

    With :math:`\lambda = x f_\mathrm{max}\, dt`, a step holds

    .. math::
        P(s_t = 1) = \lambda \;\text{(bernoulli)}, \quad
        P(s_t = 1) = 1 - e^{-\lambda} \;\text{(poisson)}, \quad
        s_t \sim \mathrm{Poisson}(\lambda) \;\text{(counts)}

    ``"poisson"`` is exact for a Poisson process of which a step shows whether anything happened;
    ``"counts"`` keeps the number of events, so it may exceed 1 and its variance is its mean.

    Args:
        steps: number of steps T.
        f_max: rate of the value 1, Hz, > 0. The default makes ``p = x`` at ``dt`` 1 ms.
        dt: step length, ms, > 0. ``"bernoulli"`` needs ``f_max * dt`` of at most 1 per step.
        law: which of the three.

    Shape: ``x [B, ...]`` in [0, 1] -> ``[T, B, ...]``. The draw is a pure function of
    ``generator``, which must live on the device of ``x``; ``None`` uses torch's global one.

    Raises:
        UserError: a parameter or value out of its range.

    Reference: Heeger, *Poisson model of spike generation* (2000).

    >>> generator = torch.Generator().manual_seed(0)
    >>> Rate(steps=4)(torch.tensor([0.0, 1.0]), generator=generator).T.tolist()
    [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    """

    f_max: float = 1000.0
    dt: float = 1.0
    law: Law = "bernoulli"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.law not in ("bernoulli", "poisson", "counts"):
            raise UserError(f"law must be 'bernoulli', 'poisson' or 'counts', got {self.law!r}")
        if not (self.f_max > 0 and self.dt > 0):
            raise UserError(f"f_max (Hz) and dt (ms) must be > 0, got {self.f_max} and {self.dt}")
        if self.law == "bernoulli" and self.per_step > 1:
            raise UserError(
                f"f_max * dt must be <= 1 per step, got {self.per_step:g} ({self.f_max:g} Hz x "
                f"{self.dt:g} ms); use a smaller dt, or law='poisson'"
            )

    @property
    def per_step(self) -> float:
        """The mean number of events of the value 1 in a step, ``f_max * dt``."""
        return self.f_max * self.dt / 1000.0

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw spikes ``[T, B, ...]`` for the values ``x [B, ...]``."""
        rate = (check_range(x) * self.per_step).expand(self.steps, *x.shape)
        if self.law == "counts":
            return torch.poisson(rate, generator=generator).to(x.dtype)
        p = rate if self.law == "bernoulli" else -torch.expm1(-rate)
        # uniform in [0, 1): p = 0 never fires, p = 1 always
        u = torch.rand(rate.shape, generator=generator, dtype=rate.dtype, device=rate.device)
        return (u < p).to(x.dtype)
