"""How arrays lie in memory."""

from collections.abc import Sequence

from torch import Tensor


def memory_order(strides: Sequence[int]) -> list[int]:
    """The dimensions from outermost to innermost."""
    return sorted(range(len(strides)), key=lambda d: -strides[d])


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements fill a stretch of memory, each once, in some order of dimensions."""
    if 0 in shape:
        return True
    expected = 1
    for d in reversed(memory_order(strides)):
        if shape[d] > 1:
            if strides[d] != expected:
                return False
            expected *= shape[d]
    return True


def as_line(x: Tensor) -> Tensor:
    """The elements of a dense array as they lie in memory, ``[x.numel()]``: no copy."""
    return x.permute(memory_order(x.stride())).view(-1)
