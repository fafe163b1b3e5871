"""How much memory torch's arrays take, on any device."""

import weakref
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of arrays that are made within it, until nothing holds them.

    Arrays that were there before are not counted, nor what kernels of numba need for themselves.
    For CUDA ``torch.cuda.max_memory_allocated`` costs nothing; this serves for the CPU too, where
    each operation takes longer.

    Attributes:
        now, peak: bytes.

    >>> with PeakMemory() as memory:
    ...     x = torch.zeros(1000)
    ...     x = x + 1.0
    >>> memory.now, memory.peak
    (4000, 8000)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __enter__(self) -> Self:
        return super().__enter__()  # type: ignore[no-any-return, no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what it gave."""
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor) and not self._is_known(value, args, kwargs):
                self._add(value.untyped_storage())
        return found

    def _is_known(self, value: Tensor, *arguments: Any) -> bool:
        """Whether an array's memory is counted already, or an argument's from before."""
        if value.untyped_storage() in self._known:
            return True
        given = (one for one in tree_leaves(arguments) if isinstance(one, Tensor))
        return any(_place(one) == _place(value) for one in given)

    def _add(self, storage: torch.UntypedStorage) -> None:
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


def _place(value: Tensor) -> int:
    place: int = value.untyped_storage()._cdata
    return place
