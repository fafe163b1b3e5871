"""Random weights as a resistive memory holds them: pairs of conductances, noisy at every read."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.seeds import generator, key

__all__ = ["ResistiveArray", "ResistiveLinear"]


@dataclass(frozen=True)
class ResistiveArray:
    r"""Devices of a resistive memory, whose forming leaves each a conductance of its own.

    A weight is the difference of two devices,

    .. math:: w = k (G^+ - G^-), \qquad G \sim \mathcal{N}(\mu, \sigma^2), \qquad
              \mathrm{std}(w) = \sqrt{2}\,k\,\sigma

    and each read of it, in each step and for each sample, is off by a fresh part of its size:
    of the weight, :math:`w (1 + \epsilon)`, or of either conductance,
    :math:`k (G^+ (1 + \epsilon^+) - G^- (1 + \epsilon^-))`, with
    :math:`\epsilon \sim \mathcal{N}(0, \sigma_r^2)`. With conductances far from 0, as here, the
    second is the larger noise.

    Args:
        std: of the weights, > 0 or 0 for no weights at all; it sets the gain :math:`k`.
        mean: :math:`\mu`, uS, at least :math:`4 \sigma`, since no conductance is negative.
        deviation: :math:`\sigma`, uS, > 0.
        read_noise: :math:`\sigma_r`, >= 0.
        noise_of: ``"weight"`` or ``"device"``.

    Raises:
        UserError: a number out of its range.

    Reference: N. Lin, S. Wang et al. (2025), Resistive memory-based zero-shot liquid state machine
    for multimodal event data learning, Nat. Comput. Sci. 5, 37-47. Mean, deviation and read noise
    of its array are not in the abstract or the program; the defaults are our choice.
    """

    std: float
    mean: float = 20.0
    deviation: float = 4.0
    read_noise: float = 0.0
    noise_of: Literal["weight", "device"] = "weight"

    def __post_init__(self) -> None:
        for name in ("std", "read_noise"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must be >= 0 and finite, got {getattr(self, name)}")
        if not 0.0 < 4.0 * self.deviation <= self.mean:
            raise UserError(
                f"need 0 < 4 deviation <= mean, got deviation {self.deviation}, mean {self.mean}"
            )
        if self.noise_of not in ("weight", "device"):
            raise UserError(f"noise_of must be 'weight' or 'device', got {self.noise_of!r}")

    @property
    def gain(self) -> float:
        """Weight of a uS."""
        return self.std / (math.sqrt(2.0) * self.deviation)

    def program(self, *shape: int, seed: int = 0) -> Tensor:
        """Conductances of pairs of devices, uS, ``[2, *shape]``: the positive ones first."""
        drawn = torch.randn(2, *shape, generator=generator(seed, "conductances"))
        return self.mean + self.deviation * drawn


class ResistiveLinear(nn.Module):
    r"""A fixed random map through a resistive array.

    The noise of all reads of a row sums to one normal number,
    :math:`y_j \sim \mathcal{N}(\sum_i w_{ji} x_i, \sigma_r^2 \sum_i m_{ji} x_i^2)` with
    :math:`m = w^2`, or :math:`k^2 ({G^+}^2 + {G^-}^2)` for noise of devices; that one is drawn.

    Args:
        inputs: columns.
        outputs: rows.
        array: of the devices.
        seed: of conductances and reads.

    Attributes:
        weight: ``[outputs, inputs]``, without noise.

    Shape: ``[..., inputs]`` -> ``[..., outputs]``; all leading axes are reads of their own.
    """

    weight: Tensor
    squares: Tensor

    def __init__(self, inputs: int, outputs: int, array: ResistiveArray, *, seed: int = 0) -> None:
        super().__init__()
        plus, minus = array.program(outputs, inputs, seed=seed)
        self.array = array
        self.register_buffer("weight", array.gain * (plus - minus))
        of_devices = array.gain**2 * (plus.square() + minus.square())
        is_weight = array.noise_of == "weight"
        self.register_buffer("squares", self.weight.square() if is_weight else of_devices)
        self._reads = torch.Generator().manual_seed(key(seed, "reads"))

    def forward(self, x: Tensor) -> Tensor:
        """Read the array once for each row of ``x``."""
        y = F.linear(x, self.weight)
        if self.array.read_noise == 0.0:
            return y
        spread = self.array.read_noise * F.linear(x.square(), self.squares).sqrt()
        return y + spread * torch.randn(y.shape, generator=self._reads).to(y)
