"""How a sequence lies in memory as a kernel sees it, ``[T, N]``, and where its parameters lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from spikesim.kernels.call import Operand


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

    def reduce(self, partial: Tensor, operand: Operand, group: int, shape: torch.Size) -> Tensor:
        """The gradient of an operand of ``shape`` from the sums over ``group`` neurons."""
        if operand.count == 1:
            return partial.sum().view(shape)
        if group == 1:
            return partial.as_strided(self.shape, self.strides).sum_to_size(shape)
        # Groups lie inside one element: [outer, count, inner / group].
        sums = partial.view(-1, operand.count, operand.inner // group).sum((0, 2))
        sizes = (1,) * (len(self.shape) - len(shape)) + tuple(shape)
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return sums.view([sizes[dim] for dim in self.order]).permute(back).reshape(shape)

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
    order = tuple(sorted(range(len(shape)), key=lambda i: (-steps[i], i)))
    expected = 1
    for dim in reversed(order):
        if shape[dim] > 1:
            if steps[dim] != expected:
                return None
            expected *= shape[dim]
    if sizes[0] > 1 and strides[0] != expected:
        return None
    return StepLayout(shape, steps, order, math.prod(shape))


_known_layout = lru_cache(maxsize=4096)(step_layout)


def dense(tensors: Sequence[Tensor]) -> tuple[list[Tensor], StepLayout]:
    """The sequences in one dense layout: that of the first, or contiguous where it is not dense."""
    first = tensors[0]
    # A compiler's sizes are symbols, which have no hash.
    find = step_layout if torch.compiler.is_compiling() or _is_fake(first) else _known_layout
    layout = find(tuple(first.shape), first.stride())
    if layout is None:
        first = first.contiguous()
        layout = find(tuple(first.shape), first.stride())
        assert layout is not None
    return [first, *(same_layout(t, first) for t in tensors[1:])], layout


def _is_fake(tensor: Tensor) -> bool:
    return type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter


def same_layout(tensor: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """``tensor`` with the strides of ``like`` and a dtype; a copy where it differs."""
    dtype = like.dtype if dtype is None else dtype
    if tensor.stride() == like.stride() and tensor.dtype == dtype:
        return tensor
    return empty_as(like, dtype).copy_(tensor)


def empty_as(like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An array with shape, strides and device of ``like``."""
    if dtype is None and like.is_contiguous():
        return torch.empty_like(like)
    return torch.empty_strided(
        like.shape, like.stride(), dtype=dtype or like.dtype, device=like.device
    )
