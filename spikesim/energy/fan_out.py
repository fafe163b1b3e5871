r"""How many weights each element of an input meets, borders counted exactly.

Tap :math:`a` of a convolution carries place :math:`y` to an output or beyond the border, along each
dimension by itself: :math:`R_{ay} \in \{0, 1\}`. With the number of non-zero weights of a tap over
the outputs of its group, :math:`n_{cab}`, an element meets

.. math:: f_{cyx} = \sum_{ab} n_{cab} R_{ay} R_{bx}.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A window that moves over a map; one number for each dimension of it.

    Args:
        size: of the map.
        taps: of the window.
        out: places of the window.
        inside: first and last place (excluded) of the map that are no padding.
        transposed: whether places and map change their roles.
    """

    size: tuple[int, ...]
    taps: tuple[int, ...]
    out: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    inside: tuple[tuple[int, int], ...]
    transposed: bool = False

    @property
    def pairs(self) -> int:
        """How often a place of the map is under a tap."""
        return _pairs(self)

    @property
    def places(self) -> int:
        """Places of the map that are no padding."""
        return prod(stop - start for start, stop in self.inside)


@lru_cache(maxsize=4096)
def reaches(window: Window) -> tuple[Tensor, ...]:
    """Whether a tap carries a place to an output: ``[taps, size]`` of 0 and 1, each dimension."""
    found = []
    for d, (start, stop) in enumerate(window.inside):
        place = torch.arange(window.size[d])
        shift = torch.arange(window.taps[d])[:, None] * window.dilation[d] - window.padding[d]
        if window.transposed:
            to = place * window.stride[d] + shift
            meets = torch.ones_like(to, dtype=torch.bool)
        else:
            to = place - shift
            meets = to % window.stride[d] == 0
            to = to.div(window.stride[d], rounding_mode="floor")
        meets = meets & (to >= 0) & (to < window.out[d]) & (place >= start) & (place < stop)
        found.append(meets.double())
    return tuple(found)


@lru_cache(maxsize=4096)
def _pairs(window: Window) -> int:
    return prod(int(reach.sum()) for reach in reaches(window))


@dataclass(frozen=True, eq=False)
class FanOut:
    """How many non-zero weights an element meets, computed where it is asked for.

    Args:
        weight: ``[out, in]`` or its transpose, dense or sparse; of a convolution
            ``[out, in / groups, ...]``, of a transposed one ``[in, out / groups, ...]``.
        outputs: the matrix's dimension of outputs.
        window: of a convolution.
        groups: of a convolution.
    """

    weight: Tensor
    outputs: int = 0
    window: Window | None = None
    groups: int = 1

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Equal for the same view of the same memory, met in the same way."""
        of = self.weight
        lies = (of.storage_offset(), of.stride()) if of.layout == torch.strided else ()
        return (storage_of(of), lies, of.shape, self.outputs, self.window, self.groups)

    def values(self) -> Tensor:
        """For each element of one input: ``[in]``, or ``[C, ...]`` of a convolution."""
        if self.window is None:
            return linear_fan_out(self.weight, self.outputs)
        return conv_fan_out(self.weight, self.window, self.groups)


def storage_of(tensor: Tensor) -> int:
    """Where its memory is, the same for all views of it."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # of vmap
        return storage_of(torch._C._functorch.get_unwrapped(tensor))
    if tensor.layout != torch.strided:
        values = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
        return storage_of(values)
    return int(tensor.untyped_storage()._cdata)


def conv_fan_out(weight: Tensor, window: Window, groups: int) -> Tensor:
    """How many non-zero weights each element of one input ``[C, ...]`` meets."""
    met = active(weight).double()
    if window.transposed:
        met = met.sum(1)  # [in, out / groups, taps...] -> [in, taps...]
    else:
        met = met.view(groups, -1, *met.shape[1:]).sum(1).flatten(0, 1)
    for reach in reaches(window):
        # Otherwise a GPU is waited for.
        there = reach.to(met.device, non_blocking=True)
        met = torch.tensordot(met, there, dims=([1], [0]))
    return met


def linear_fan_out(weight: Tensor, dim: int) -> Tensor:
    """How many non-zero weights of a matrix each element meets; ``dim`` is that of the outputs."""
    return active(weight).double().sum(dim)


def active(weight: Tensor) -> Tensor:
    """Which weights are not zero, also of a matrix that is kept sparse."""
    return dense(weight.detach()) != 0


def dense(array: Tensor) -> Tensor:
    """An array that may be kept sparse."""
    return array if array.layout == torch.strided else array.to_dense()


def spread(value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """One number, or one for each dimension, as one for each."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dims if len(values) == 1 else values
