"""Phase code: the binary digits of a value, one per step of a repeating cycle."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.encoders.base import Encoder, check_range
from spikesim.errors import UserError


@dataclass(frozen=True)
class Phase(Encoder):
    r"""Phase code: step t carries bit ``t mod K`` of x, most significant first.

    .. math::
        s_t = \left\lfloor 2^{k} x \right\rfloor \bmod 2, \quad w_t = 2^{-k}, \quad
        k = 1 + (t \bmod K)

    so one cycle sums to :math:`\sum_t w_t s_t = \lfloor 2^K x \rfloor / 2^K`. The spikes are plain
    0 or 1; a receiver multiplies them by :meth:`weights`. The value 1 is sent as the largest
    there is, :math:`1 - 2^{-K}`.

    Args:
        steps: number of steps T; whole cycles are multiples of ``bits``.
        bits: cycle length K, 1 to 24 (the digits of float32).

    Shape: ``x [B, ...]`` in [0, 1] -> spikes ``[T, B, ...]``, 0 or 1.

    Raises:
        UserError: a parameter or value out of its range.

    Reference: Kim, Kim, Huh, Lee and Choi (2018), weighted spikes.

    >>> Phase(steps=4, bits=4)(torch.tensor([0.6875])).flatten().tolist()
    [1.0, 0.0, 1.0, 1.0]
    """

    bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.bits <= 24:
            raise UserError(f"bits must lie in 1 to 24, got {self.bits}")

    def weights(self) -> Tensor:
        """The weight of each step ``[T]``, float32: 1/2, 1/4, ... and again in each cycle."""
        return torch.exp2(-1.0 - torch.arange(self.steps) % self.bits)

    def __call__(self, x: Tensor) -> Tensor:
        """Spikes ``[T, B, ...]`` for the values ``x [B, ...]``."""
        top = 2**self.bits
        whole = (check_range(x) * top).long().clamp(max=top - 1)
        shift = self.bits - 1 - torch.arange(self.steps, device=x.device) % self.bits
        bits: Tensor = whole >> shift.view(-1, *[1] * x.dim()) & 1
        return bits.to(x.dtype)
