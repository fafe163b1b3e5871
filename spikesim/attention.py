"""Products of spike matrices ``[..., N, d]``: ``N`` tokens, ``d`` channels a head."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.layers import neuron_factory


class SSA(nn.Module):
    r"""Spiking self-attention: :math:`Y = s \, Q K^\top V`, without softmax.

    ``Q, K, V`` are spikes, so the products are non-negative integers and both orders,
    :math:`(Q K^\top) V` at :math:`2 N^2 d` and :math:`Q (K^\top V)` at :math:`2 N d^2` operations a
    head, give the same; the cheaper one runs. Half precision rounds integers above 256 (bfloat16)
    or 2048 (float16), far above the threshold of the neuron that follows.

    Args:
        scale: the factor :math:`s`, > 0.

    Shape: three times ``[..., N, d]`` -> ``[..., N, d]``.

    Raises:
        UserError: ``scale`` is not positive.

    Reference: Zhou et al. (2023), *Spikformer*, equation 6.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise UserError(f"scale must be > 0, got {scale}")
        self.scale = float(scale)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The scaled product, in the cheaper order."""
        if self.tokens_first(q.shape[-2], q.shape[-1]):
            return (q @ k.transpose(-1, -2)) @ v * self.scale
        return q @ (k.transpose(-1, -2) @ v) * self.scale

    @staticmethod
    def tokens_first(tokens: int, channels: int) -> bool:
        """Whether ``(Q K^T) V`` is the order that runs: it is when ``N <= d``."""
        return tokens <= channels

    def extra_repr(self) -> str:
        """The scale, for ``print(model)``."""
        return f"scale={self.scale}"


class SDSA(nn.Module):
    r"""Spike-driven self-attention: a binary mask per channel, without any multiplication.

    .. math::
        g = \mathrm{SN}_{1/2}\Big(\sum_{n} K_n \odot V_n\Big), \qquad Y_n = Q_n \odot g

    It acts on each channel alone, so the split into heads changes nothing.

    Args:
        neuron: the spiking layer :math:`\mathrm{SN}`; a LIF with threshold 0.5 where not given.
        grid: ``(H, W)`` with ``H * W = N`` takes the 3x3 maximum over neighbouring tokens of
            :math:`K \odot V` and of :math:`Q \odot g`, as published for CIFAR10-DVS; ``None`` does
            not. The released code takes these two maxima over its (token, channel) plane, where
            they would depend on the split into heads; here they are spatial.

    Shape: three times ``[T, B, ..., N, d]`` -> ``[T, B, ..., N, d]``, each 0 or 1.

    Raises:
        ValueError: on a call, ``N`` tokens do not fill the grid.

    Reference: Yao et al. (2023), *Spike-driven Transformer*, equations 8 to 10.
    """

    def __init__(
        self,
        neuron: Callable[[Tensor], Tensor] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.neuron = neuron_factory()(0.5) if neuron is None else neuron
        self.grid = grid

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """``q`` masked by the channels on which ``k`` and ``v`` agree often enough."""
        kv = self._spread(k * v)
        gate = self.neuron(kv.sum(-2, keepdim=True))  # [T, B, ..., 1, d]
        return self._spread(q * gate)

    def _spread(self, x: Tensor) -> Tensor:
        if self.grid is None:
            return x
        if x.shape[-2] != math.prod(self.grid):
            raise ValueError(f"{x.shape[-2]} tokens do not fill a grid of {self.grid}")
        by_channel = x.transpose(-1, -2)  # [..., d, N]
        maps = by_channel.reshape(-1, 1, *self.grid)  # [... d, 1, H, W]
        return F.max_pool2d(maps, 3, stride=1, padding=1).view(by_channel.shape).transpose(-1, -2)

    def extra_repr(self) -> str:
        """The grid, for ``print(model)``."""
        return "" if self.grid is None else f"grid={self.grid}"
