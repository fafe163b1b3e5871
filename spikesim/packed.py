"""Convolutions and linear maps that keep their binary input as bits for the weight's gradient."""

import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim.attention import SSA
from spikesim.conv import FewChannelConv2d, autocast, int_padding
from spikesim.errors import UserError
from spikesim.kernels import bits
from spikesim.kernels.layout import is_dense


class Packed:
    """What a packed layer is told beside being one; a part of its class, mixed in.

    The output and all gradients are those of the plain layer, bit for bit; second derivatives
    are refused.
    """

    largest: int
    """1: the input is kept as one bit a value; up to 255: as one byte."""
    layer: str
    """Its name in the model."""
    check: bool
    """Whether the values are looked at in every call, which waits for the device."""

    def _verify(self, x: Tensor) -> None:
        top = self.largest
        if self.check and not bool(((x >= 0) & (x <= top) & (x == x.round())).all()):
            wish = "0 or 1" if top == 1 else f"whole numbers from 0 to {top}"
            raise UserError(
                f"the input of packed layer {self.layer!r} is not {wish}: it spans "
                f"{x.min().item():g} to {x.max().item():g}; "
                f"leave it out with pack_spikes(..., skip=[{self.layer!r}])"
            )


class PackedSSA(Packed, SSA):
    """:class:`~spikesim.attention.SSA` that keeps ``Q, K, V`` as bits, or counts as bytes."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same as ``SSA``."""
        for spikes in (q, k, v):
            self._verify(spikes)
        return super().forward(q, k, v)

    def _keeping(self, *spikes: Tensor) -> AbstractContextManager[object]:
        if torch.compiler.is_compiling():
            return nullcontext()
        known = {x.untyped_storage().data_ptr() for x in spikes}

        def keep(saved: Tensor) -> tuple[Any, ...]:
            is_spikes = saved.untyped_storage().data_ptr() in known
            if not is_spikes or not is_dense(saved.shape, saved.stride()):
                return (saved,)
            small = _packed(saved.detach(), self.largest)
            return small, saved.shape, saved.stride(), saved.dtype

        def back(kept: tuple[Any, ...]) -> Tensor:
            return cast(Tensor, kept[0]) if len(kept) == 1 else _unpacked(*kept)

        return torch.autograd.graph.saved_tensors_hooks(keep, back)


class PackedLinear(Packed, nn.Linear):
    """``nn.Linear`` on spikes ``[..., in]``."""

    def forward(self, input: Tensor) -> Tensor:
        """The same as ``nn.Linear``."""
        self._verify(input)
        if not _keeps(self.weight):
            return super().forward(input)
        x, weight, bias = autocast(input, self.weight, self.bias)
        out = _Linear.apply(x, weight, bias, self.largest)  # type: ignore[no-untyped-call]
        return cast(Tensor, out)


class _PackedConv(Packed, nn.modules.conv._ConvNd):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self._verify(input)
        is_batch = input.dim() == weight.dim()
        if not _keeps(weight) or not is_batch:
            return super()._conv_forward(input, weight, bias)
        x, weight, bias = autocast(input, weight, bias)
        geometry = (self.stride, int_padding(self), self.dilation, self.groups)
        out = _Convolution.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, self.largest, *geometry
        )
        return cast(Tensor, out)


class PackedConv1d(_PackedConv, nn.Conv1d):
    """``nn.Conv1d`` on spikes."""


class PackedConv2d(_PackedConv, nn.Conv2d):
    """``nn.Conv2d`` on spikes."""


class PackedFewChannelConv2d(_PackedConv, FewChannelConv2d):
    """``FewChannelConv2d`` on spikes."""


class PackedConv3d(_PackedConv, nn.Conv3d):
    """``nn.Conv3d`` on spikes."""


def _keeps(weight: Tensor) -> bool:
    return torch.is_grad_enabled() and weight.requires_grad


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, largest: int) -> Tensor:
        _keep(ctx, x, weight, largest)
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = _kept(ctx)
        rows, matrix = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        of_x = of_bias = None
        if ctx.needs_input_grad[0]:
            # In the layout of x, as autograd does: another order of factors rounds otherwise.
            is_transposed = matrix.stride() == (1, matrix.shape[0])
            of_x = weight.t().mm(rows.t()).t() if is_transposed else rows.mm(weight)
            of_x = of_x.view(x.shape)
        of_weight = rows.t().mm(matrix)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        return of_x, of_weight, of_bias, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        largest: int,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        _keep(ctx, x, weight, largest)
        ctx.geometry = stride, padding, dilation, False, (0,) * len(stride), groups
        return torch.convolution(x, weight, bias, *ctx.geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = _kept(ctx)
        wanted = ctx.needs_input_grad[:3]
        gradients = torch.ops.aten.convolution_backward(
            grad, x, weight, weight.shape[:1], *ctx.geometry, wanted
        )
        return *gradients, None, None, None, None, None


def _keep(ctx: Any, x: Tensor, weight: Tensor, largest: int) -> None:
    """Save a packed ``x``: through autograd, so that checkpointing and offloading see it."""
    if not is_dense(x.shape, x.stride()):
        x = x.clone()
    ctx.save_for_backward(_small(x, largest), weight)
    ctx.shape, ctx.strides, ctx.dtype = x.shape, x.stride(), x.dtype


def _kept(ctx: Any) -> tuple[Tensor, Tensor]:
    small, weight = ctx.saved_tensors
    return _unpacked(small, ctx.shape, ctx.strides, ctx.dtype), weight


def _small(x: Tensor, largest: int) -> Tensor:
    if torch.compiler.is_compiling():
        return _packed(x, largest)
    whole = x if x._base is None else x._base
    key = (x.data_ptr(), x.shape, x.stride(), x.dtype, x._version, largest, _work_of(x))
    known = _latest.get(whole, key)
    if known is None:
        known = _packed(x, largest)
        _latest.put(whole, key, known)
    return known


def _work_of(x: Tensor) -> tuple[int, bool] | None:
    """The stream, and whether it is captured: bits of another one may not be there yet."""
    if not x.is_cuda:
        return None
    stream = torch.cuda.current_stream(x.device).cuda_stream
    return stream, torch.cuda.is_current_stream_capturing()


def _packed(x: Tensor, largest: int) -> Tensor:
    return bits.pack(x) if largest == 1 else x.to(torch.uint8)


def _unpacked(
    small: Tensor, shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    if small.dtype == torch.uint8:
        return small.to(dtype)
    return bits.unpack(small, shape, strides, dtype)


class _Latest:
    """The spikes that were packed last: queries, keys and values are three maps of the same."""

    def __init__(self) -> None:
        self._entry: tuple[weakref.ref[Tensor], Any, Tensor] | None = None

    def get(self, of: Tensor, key: Any) -> Tensor | None:
        entry = self._entry
        return entry[2] if entry and entry[0]() is of and entry[1] == key else None

    def put(self, of: Tensor, key: Any, small: Tensor) -> None:
        """Remember until ``of`` is gone: then nobody can ask again."""
        self._entry = weakref.ref(of, self._forget), key, small

    def _forget(self, dead: "weakref.ref[Tensor]") -> None:
        if self._entry is not None and self._entry[0] is dead:
            self._entry = None


_latest = _Latest()
