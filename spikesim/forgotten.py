"""Arrays that are cheap to make again: what keeps one for its gradient keeps how to make it."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Maker: TypeAlias = Callable[[], Tensor]


class _Recipe:
    """An array in the view that was to be kept."""

    def __init__(self, make: Maker, kept: Tensor) -> None:
        self._make, self._shape, self._stride = make, kept.shape, kept.stride()

    def __call__(self) -> Tensor:
        return self._make().as_strided(self._shape, self._stride)


def making_again(
    made: Tensor, make: Callable[[Tensor], Tensor], source: Tensor
) -> torch.autograd.graph.saved_tensors_hooks:
    """Within it, operations that need ``made`` in their backward pass keep ``source`` instead.

    Args:
        made: ``make(source)``; views of all of it count too.
        make: gives the same bits each time. It is called without gradients, under the autocast of
            now.
        source: what it is made of.
    """
    place, many, dtype, device = made.data_ptr(), made.numel(), made.dtype, made.device
    source, kind = source.detach(), made.device.type
    amp = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def again() -> Tensor:
        with torch.no_grad(), torch.autocast(kind, amp[1], enabled=amp[0]):
            return make(source)

    # Neither function may hold `made`: torch keeps both as long as what they give.
    def pack(kept: Tensor) -> Tensor | _Recipe:
        same = (kept.data_ptr(), kept.numel(), kept.dtype) == (place, many, dtype)
        return _Recipe(again, kept) if same and kept.device == device else kept

    def unpack(kept: Tensor | _Recipe) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
