"""Where the time steps lie in what a layer sees.

Shape legend: ``T`` steps, ``B`` batch; a call sees ``[T, B, ...]``, ``[T * B, ...]`` or one step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

Layout: TypeAlias = Literal["TB", "BT", "B"]
"""What the first dimensions of the data are; ``B``: no time."""


@dataclass(frozen=True)
class Steps:
    """The steps of one call.

    Args:
        groups: how many it holds.
        batch_first: whether samples come before steps.
        batch: samples.
        is_sure: whether the shape leaves no doubt that there are as many.
        is_part: whether it holds some of the steps, as in a loop over pieces of a sequence.
        is_once: whether time is over: the array is a mean over all steps, or made of one.
        scattered: how many steps lie further in, where they cannot be told apart.
    """

    groups: int = 1
    batch_first: bool = False
    batch: int = 1
    is_sure: bool = True
    is_part: bool = False
    is_once: bool = False
    scattered: int = 1

    def fit(self, *arrays: Tensor) -> bool:
        """Whether arrays can hold so many steps."""
        return self.groups == 1 or all(x.numel() % (self.groups * self.batch) == 0 for x in arrays)

    def first(self, x: Tensor, features: int) -> Tensor:
        """An array whose last dimensions are ``features``, its steps outermost."""
        if not self.batch_first or self.groups == 1:
            return x
        last = x.shape[x.dim() - features :]
        return x.reshape(self.batch, self.groups, -1, *last).transpose(0, 1)

    def by_group(self, x: Tensor) -> Tensor:
        """Sums of the steps ``[groups]`` of an array of one number each row."""
        return self.first(x.flatten(), 0).reshape(self.groups, -1).sum(1)


@dataclass
class Timing:
    """What is known of time in a batch.

    Attributes:
        steps: ``T``.
        batch: ``B``.
        layout: of the data.
        dims: of the data.
        lengths: of the sequences in the model; layers with delays may make them longer.
        batch_first: whether samples come before steps, as was seen last.
    """

    steps: int
    batch: int
    layout: Layout
    dims: int
    lengths: set[int]
    batch_first: bool = field(init=False)

    def __post_init__(self) -> None:
        self.batch_first = self.layout == "BT"

    def order(self, shape: Sequence[int], T: int) -> bool | None:
        """Whether samples come first, where the first dimensions are ``B`` and ``T``."""
        first, B = tuple(shape[:2]), self.batch
        if first == (T, B):
            return B == T and self.layout == "BT"
        return True if first == (B, T) else None

    def is_over(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether a reduction with these arguments is one over all steps."""
        x: Tensor = args[0]
        steps = self.of(x.shape)
        if steps.groups == 1 or steps.is_part or not steps.is_sure:
            return False
        dims = args[1] if len(args) > 1 else kwargs.get("dim")
        if isinstance(dims, Tensor):  # of two arrays, element by element
            return False
        if dims is None or (isinstance(dims, Sequence) and not dims):
            return True
        given = dims if isinstance(dims, Sequence) else (dims,)
        return self._dim(x, steps) in {int(dim) % x.dim() for dim in given}

    def is_spread(self, x: Tensor) -> bool:
        """Whether one array is seen as one for each step."""
        steps = self.of(x.shape)
        return steps.groups > 1 and x.layout == torch.strided and not x.stride(self._dim(x, steps))

    def _dim(self, x: Tensor, steps: Steps) -> int:
        return int(steps.batch_first and x.shape[0] != steps.groups * steps.batch)

    def of(self, shape: Sequence[int], *, is_flat: bool = False) -> Steps:
        """The steps in an array of this shape; ``is_flat`` if it cannot have both dimensions."""
        B = self.batch
        has_both = not is_flat and len(shape) > min(2, self.dims - 1)
        for T in sorted(self.lengths, reverse=True):
            if T > 1:
                if has_both and (found := self.order(shape, T)) is not None:
                    self.batch_first = found
                    return Steps(T, found, B)
                if shape[:1] == (T * B,):
                    return Steps(T, self.batch_first, B)
                if (
                    has_both and len(shape) > 2 and shape[1] == T * B
                ):  # such as [tokens, T * B, features]
                    return Steps(batch=B, scattered=T)
        T = self.steps
        if T > 1 and shape and prod(shape[:1]) % (T * B) == 0 and shape[0]:
            return Steps(T, self.batch_first, B, is_sure=False)
        if self.layout == "TB" and has_both and shape[1] == B and shape[0] < T:
            return Steps(shape[0], False, B, is_part=True)
        return Steps(batch=B)
