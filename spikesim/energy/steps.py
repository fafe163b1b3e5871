"""Where the time steps lie in what a layer sees.

Shape legend: ``T`` steps, ``B`` batch; a call sees ``[T, B, ...]``, ``[T * B, ...]`` or one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

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
        scattered: how many steps lie further in, where they cannot be told apart.
    """

    groups: int = 1
    batch_first: bool = False
    batch: int = 1
    is_sure: bool = True
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
    """

    steps: int
    batch: int
    layout: Layout
    dims: int
    lengths: set[int]

    def of(self, shape: Sequence[int], *, is_flat: bool = False) -> Steps:
        """The steps in an array of this shape; ``is_flat`` if it cannot have both dimensions."""
        B, first = self.batch, tuple(shape[:2])
        has_both = not is_flat and len(shape) > min(2, self.dims - 1)
        for T in sorted(self.lengths, reverse=True):
            if T > 1:
                both = (B, T) if self.layout == "BT" else (T, B)
                if (has_both and first == both) or shape[:1] == (T * B,):
                    return Steps(T, self.layout == "BT", B)
                if (
                    has_both and len(shape) > 2 and shape[1] == T * B
                ):  # such as [tokens, T * B, features]
                    return Steps(batch=B, scattered=T)
        T = self.steps
        if T > 1 and shape and prod(shape[:1]) % (T * B) == 0 and shape[0]:
            return Steps(T, self.layout == "BT", B, is_sure=False)
        return Steps(batch=B)
