"""How a sequence lies in memory as a kernel sees it, ``[T, N]``, and where its parameters lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from spikesim.kernels import pages
from spikesim.kernels.call import Operand, real_dtype
from spikesim.kernels.layout import is_dense, memory_order


@dataclass(frozen=True)
class StepLayout:
    """A step ``[B, ...]`` of a dense sequence: sizes, strides, and dimensions outermost first."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    order: tuple[int, ...]
    neurons: int
    """Values of one step."""

    def empty(self, like: Tensor, dtype: torch.dtype) -> Tensor:
        """An array of one step with this layout."""
        return torch.empty_strided(self.shape, self.strides, dtype=dtype, device=like.device)

    def arranged(self, array: Tensor, dtype: torch.dtype) -> Tensor:
        """``array`` of one step in this layout; a copy where it lies otherwise."""
        if array.dtype == dtype and array.stride() == self.strides:
            return array
        return self.empty(array, dtype).copy_(array)

    def operand(self, array: Tensor) -> Operand:
        """How a kernel finds the elements of an array that broadcasts against a step."""
        if array.numel() == 1:
            return Operand(array=array.reshape(1))
        sizes = (1,) * (len(self.shape) - array.dim()) + tuple(array.shape)
        inner = _inner(self, sizes)
        if inner is None:
            whole = self.arranged(array.expand(self.shape), array.dtype)
            return Operand(array=whole, inner=1, count=self.neurons)
        if sum(size > 1 for size in sizes) > 1:
            array = array.reshape(sizes).permute(self.order)
        return Operand(array=array.contiguous().view(-1), inner=inner, count=array.numel())

    def reduce(
        self, partials: Tensor, operand: Operand, group: int, shape: tuple[int, ...]
    ) -> Tensor:
        """The gradients of operands of one kind, ``[rows, *shape]``.

        Args:
            partials: ``[rows, N / group]``, each the sum over ``group`` neighbouring neurons.
            operand: how one of them lies.
            group: see :meth:`~spikesim.kernels.call.Backend.group`.
            shape: of one of them.
        """
        rows = partials.shape[0]
        if operand.count == 1:
            sums = partials.sum(1)
            return sums.view(rows, *shape) if shape else sums
        sizes = (1,) * (len(self.shape) - len(shape)) + tuple(shape)
        if group == 1:
            whole = partials.as_strided((rows, *self.shape), (self.neurons, *self.strides))
            return whole.sum_to_size((rows, *sizes)).view(rows, *shape)
        # Groups lie inside one element: [rows, outer, count, inner / group].
        sums = partials.view(rows, -1, operand.count, operand.inner // group).sum((1, 3))
        lying = sums.view(rows, *(sizes[dim] for dim in self.order))
        back = (1 + place for place in sorted(range(len(self.order)), key=self.order.__getitem__))
        return lying.permute(0, *back).reshape(rows, *shape)

    def innermost_channels(self) -> int | None:
        """1 if samples lie in logical order, ``C`` if channels lie innermost, else ``None``."""
        lying = [dim for dim in self.order if self.shape[dim] > 1]
        if lying == sorted(lying):
            return 1
        if lying == [*sorted(dim for dim in lying if dim != 1), 1]:
            return self.shape[1]
        return None


@lru_cache(maxsize=4096)
def _inner(layout: StepLayout, sizes: tuple[int, ...]) -> int | None:
    """How many neighbouring neurons share an element of an array of ``sizes``.

    ``None`` where its elements do not follow each other in memory as those of a step do.
    """
    varying = [i for i, dim in enumerate(layout.order) if sizes[dim] > 1]
    full = all(sizes[layout.order[i]] == layout.shape[layout.order[i]] for i in varying)
    if not full or any(after - before != 1 for before, after in pairwise(varying)):
        return None
    return math.prod(layout.shape[dim] for dim in layout.order[varying[-1] + 1 :])


def step_layout(sizes: tuple[int, ...], strides: tuple[int, ...]) -> StepLayout | None:
    """The layout of ``[T, B, ...]``; ``None`` where it is not dense with ``T`` outermost."""
    shape, steps = sizes[1:], strides[1:]
    neurons = math.prod(shape)
    is_outermost = sizes[0] <= 1 or not neurons or strides[0] == neurons
    if not is_outermost or not is_dense(shape, steps):
        return None
    return StepLayout(shape, steps, tuple(memory_order(steps)), neurons)


_known_layout = lru_cache(maxsize=4096)(step_layout)


def dense(tensors: Sequence[Tensor]) -> tuple[list[Tensor], StepLayout]:
    """The sequences in one dense layout: that of the first, or contiguous where it is not dense."""
    first = tensors[0]
    find = _known_layout if _has_plain_sizes(first) else step_layout
    layout = find(tuple(first.shape), first.stride())
    if layout is None:
        first = first.contiguous()
        layout = find(tuple(first.shape), first.stride())
        assert layout is not None
    return [first, *(same_layout(t, first) for t in tensors[1:])], layout


def _has_plain_sizes(tensor: Tensor) -> bool:
    """Whether sizes can be looked up: those of a compiler are symbols, which have no hash."""
    is_plain = type(tensor) is Tensor or type(tensor) is torch.nn.Parameter
    return is_plain and not torch.compiler.is_compiling()


def step_like(sequence: Tensor) -> Tensor:
    """Shape and real dtype of a step ``[B, ...]``, without values."""
    make = _known_step if _has_plain_sizes(sequence) else _step
    return make(sequence.shape[1:], real_dtype(sequence.dtype))


def _step(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


_known_step = lru_cache(maxsize=4096)(_step)


def same_layout(tensor: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """``tensor`` with the strides of ``like`` and a dtype; a copy where it differs."""
    dtype = like.dtype if dtype is None else dtype
    if tensor.stride() == like.stride() and tensor.dtype == dtype:
        return tensor
    return empty_as(like, dtype).copy_(tensor)


def empty_as(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An array with shape, strides and device of ``like``."""
    is_usual = like.is_cpu and _has_plain_sizes(like)
    if is_usual and like.numel() * (dtype or like.dtype).itemsize >= pages.PAGE:
        return pages.empty(like.shape, like.stride(), dtype or like.dtype)
    if dtype is None and like.is_contiguous():
        return torch.empty_like(like)
    return torch.empty_strided(
        like.shape, like.stride(), dtype=dtype or like.dtype, device=like.device
    )
