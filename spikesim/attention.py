"""Products of spike matrices ``[..., N, d]``: ``N`` tokens, ``d`` channels a head."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim.errors import UserError
from spikesim.kernels.sdsa import token_sums, token_sums_and_mask
from spikesim.layers import neuron_factory

EXACT = {torch.bfloat16: 2**8, torch.float16: 2**11, torch.float32: 2**24, torch.float64: 2**53}
"""Up to here a dtype holds every whole number."""


class SSA(nn.Module):
    r"""Spiking self-attention: :math:`Y = s \, Q K^\top V`, without softmax.

    ``Q, K, V`` are spikes, so the products are non-negative integers and both orders,
    :math:`(Q K^\top) V` at :math:`2 N^2 d` and :math:`Q (K^\top V)` at :math:`2 N d^2` operations a
    head, give the same. The one with the smaller matrix between runs, :math:`N \times N` or
    :math:`d \times d`: it has fewer operations and less to write and read, forward and backward.

    The integers are exact in half precision and under autocast too. The first product is at most
    ``max(N, d)``, the second ``N d``; each is stored in the dtype of the spikes if that holds every
    whole number so far (bfloat16 to 256, float16 to 2048), else in float32 (to 2**24; 2048 where
    TF32 is allowed and a second product follows), in which the output then is. Sums on the way are
    whole numbers no larger, so their precision does not matter. A scale that is a power of two
    changes no digit; another one rounds once. Counts of 0 to ``L``, as of
    :class:`~spikesim.neurons.ilif.ILIF`, are exact while ``L**2 max(N, d)`` and ``L**3 N d`` are
    below these limits, and round like any number beyond.

    Args:
        scale: the factor :math:`s`, > 0.

    Shape: three times ``[..., N, d]`` -> ``[..., N, d]``. Heads of a contiguous map
    ``[T, B, h, d, N]`` are read, and the output is written, in place; heads of a channels-last map
    ``[T, B, N, h, d]`` are copied, as a batched product takes one stride for all of its batch.

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
        shape, device = q.shape, q.device.type
        tokens, channels = shape[-2:]
        dtype = q.dtype
        if torch.is_autocast_enabled(device) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(device)
        # Which dtype holds the first product, and which the second.
        narrow, wide = (_holding(n, dtype) for n in (max(tokens, channels), tokens * channels))
        is_planes, is_power = q.stride(-2) == 1, math.frexp(self.scale)[0] == 0.5
        q, k, v = (x.to(dtype).reshape(math.prod(shape[:-2]), *shape[-2:]) for x in (q, k, v))
        with torch.autocast(device, enabled=False), self._keeping(q, k, v):
            if self.tokens_first(tokens, channels):
                between, other = _product(q, k.mT, narrow), v
            else:
                between, other = _product(k.mT, v, narrow), q
            if is_power:
                # No digit changes, and the matrix between is smaller than the output.
                between = between * self.scale
            other = other.to(narrow)
            a, b = (between, other) if self.tokens_first(tokens, channels) else (other, between)
            # Of planes the transpose is written, which is how they lie.
            out = _product(b.mT, a.mT, wide).mT if is_planes else _product(a, b, wide)
        return (out if is_power else out * self.scale).view(shape)

    def _keeping(self, *spikes: Tensor) -> AbstractContextManager[object]:
        """How the products keep these for their gradients: as they are."""
        return nullcontext()

    @staticmethod
    def tokens_first(tokens: int, channels: int) -> bool:
        """Whether ``(Q K^T) V`` is the order that runs: it is when ``N <= d``."""
        return tokens <= channels

    def extra_repr(self) -> str:
        """The scale, for ``print(model)``."""
        return f"scale={self.scale}"


def _holding(largest: int, dtype: torch.dtype) -> torch.dtype:
    """``dtype`` if it holds every whole number to ``largest``, else float32."""
    return dtype if largest <= EXACT[dtype] else torch.promote_types(dtype, torch.float32)


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """``a @ b`` ``[M, I, K], [M, K, J]`` stored in ``dtype``."""
    if a.dtype == dtype:
        return torch.bmm(a, b)
    if a.is_cuda and dtype == torch.float32:
        return cast(Tensor, _Widened.apply(a, b))  # type: ignore[no-untyped-call]
    return torch.bmm(a.to(dtype), b.to(dtype))


class _Widened(torch.autograd.Function):
    """A product of half-precision matrices with its float32 sums as they are."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return torch.bmm(a, b, out_dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        grad = grads[0].to(a.dtype)
        return torch.bmm(grad, b.mT), torch.bmm(a.mT, grad)


class SDSA(nn.Module):
    r"""Spike-driven self-attention: a binary mask per channel, without any multiplication.

    .. math::
        g = \mathrm{SN}_{1/2}\Big(\sum_{n} K_n \odot V_n\Big), \qquad Y_n = Q_n \odot g

    It acts on each channel alone, so the split into heads changes nothing. Neither
    :math:`K \odot V` nor a gate per token is ever stored: the sum over tokens is one kernel
    (:mod:`spikesim.kernels.sdsa`), float32 and exact; backward is one more, for the mask and the
    gate's gradient at once. Kept for backward are ``Q``, ``K``, ``V`` and the gate. The 3x3 maxima
    of ``grid`` are torch's: which of nine products is the largest has to be found in the product.
    So is all of it inside ``torch.compile``, which makes such kernels itself.

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
        if self.grid is None and not torch.compiler.is_compiling():
            agreed = _Agreed.apply(k, v)  # type: ignore[no-untyped-call]
            return cast(Tensor, _Masked.apply(q, self.neuron(agreed)))  # type: ignore[no-untyped-call]
        sums = self._spread(k * v).sum(-2, keepdim=True, dtype=_single(k))
        gate = self.neuron(sums)  # [T, B, ..., 1, d]
        return self._spread(q * gate.to(q.dtype))

    def _spread(self, x: Tensor) -> Tensor:
        if self.grid is None:
            return x
        if x.shape[-2] != math.prod(self.grid):
            raise ValueError(f"{x.shape[-2]} tokens do not fill a grid of {self.grid}")
        by_channel = x.transpose(-1, -2)  # [T, B, ..., d, N]
        # A view of a contiguous and of a channels-last map, which the maximum keeps as it lies.
        maps = by_channel.flatten(0, 1).flatten(1, -2)  # [T B, C, N]
        maps = maps.view(*maps.shape[:-1], *self.grid)
        spread = F.max_pool2d(maps, 3, stride=1, padding=1)
        return spread.reshape(by_channel.shape).transpose(-1, -2)

    def extra_repr(self) -> str:
        """The grid, for ``print(model)``."""
        return "" if self.grid is None else f"grid={self.grid}"


def _single(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class _Agreed(torch.autograd.Function):
    """Sum over tokens of ``K * V``."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(k, v)
        return token_sums(k, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        k, v = ctx.saved_tensors
        return grad.to(v.dtype) * v, grad.to(k.dtype) * k


class _Masked(torch.autograd.Function):
    """``Q`` where the gate of its channel is open."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, gate: Tensor) -> Tensor:
        ctx.save_for_backward(q, gate)
        return q * gate.to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        q, gate = ctx.saved_tensors
        of_gate, of_q = token_sums_and_mask(grad, q, gate)
        return of_q, of_gate.to(gate.dtype)
