"""Memory of large arrays on the CPU, which is kept for the next ones.

The system fills a page with zeros when it is first touched, which takes longer than a kernel's own
work on it; and C's allocator returns blocks of this size to the system as soon as they are free.
"""

import mmap
import weakref
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

PAGE = 1 << 21
"""Bytes of the pages that are asked for; smaller arrays are left to torch."""

KEPT = 1 << 28
"""Bytes that are kept at most while nobody uses them."""

_free: dict[int, deque[mmap.mmap]] = {}
"""Unused blocks by size; each of its operations is atomic, since tensors die in any thread."""


def empty(shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> Tensor:
    """As ``torch.empty_strided``; the memory comes back here when nothing refers to it."""
    count = 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    size = -(-count * dtype.itemsize // PAGE) * PAGE
    try:
        block = _free[size].pop()
    except (KeyError, IndexError):
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
            block.madvise(mmap.MADV_HUGEPAGE)
    # The storage of a tensor holds the view, and nobody else does.
    view = memoryview(block)
    weakref.finalize(view, _give_back, block).atexit = False
    return torch.frombuffer(view, dtype=dtype, count=count).as_strided_(shape, strides)


def _give_back(block: mmap.mmap) -> None:
    if sum(size * len(blocks) for size, blocks in list(_free.items())) + len(block) > KEPT:
        _free.clear()  # sizes that were in use once leave with the others
    _free.setdefault(len(block), deque()).append(block)
