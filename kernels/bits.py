"""Spikes to one bit a value and back, in memory order.

Bit ``k`` of word ``j`` is value ``32 j + k`` of an array as it lies in memory, so that any dense
layout is taken as it is. On the CPU numba does it, on a CUDA device CuPy where it is there, else
torch; inside ``torch.compile`` always torch, whose operations are fused there.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.backends import serving
from spikesim.kernels.layout import as_line, is_dense
from spikesim.kernels.print_cuda import cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_INTEGER = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
_ONE = {
    torch.float16: 0x3C00,
    torch.bfloat16: 0x3F80,
    torch.float32: 0x3F800000,
    torch.float64: 0x3FF0000000000000,
}
"""1.0 as an integer of its size."""

_LAUNCH = np.dtype(
    [("values", "u8"), ("bits", "u8"), ("size", "i8"), ("bytes", "i8"), ("one", "u8")], align=True
)
_THREADS = 256


def pack(x: Tensor) -> Tensor:
    """One bit a value: whether it is not zero.

    Args:
        x: floating point, dense (contiguous in some order of its dimensions).

    Returns:
        int32 ``[ceil(x.numel() / 32)]``; the bits after the last value are 0.

    Raises:
        UserError: another dtype, or an array with gaps or repeats in memory.

    >>> pack(torch.tensor([1.0, 0.0, 1.0, 1.0])).tolist()
    [13]
    """
    if x.dtype not in _INTEGER:
        raise UserError(f"spikes to pack must be floating point, got {x.dtype}; cast them")
    if not is_dense(x.shape, x.stride()):
        raise UserError(f"spikes to pack have strides {x.stride()}; make them dense with .clone()")
    x = x.detach()
    if _is_torch_only(x.device):
        return pack_torch(x)
    words = torch.empty(-(-x.numel() // 32), dtype=torch.int32, device=x.device)
    if x.numel():
        _run("pack", as_line(x).view(_INTEGER[x.dtype]), words, x.dtype)
    return words


def unpack(
    bits: Tensor, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """The array that :func:`pack` saw: 0 and 1, with its shape, strides and dtype."""
    if _is_torch_only(bits.device):
        return unpack_torch(bits, shape, strides, dtype)
    x = torch.empty_strided(tuple(shape), tuple(strides), dtype=dtype, device=bits.device)
    if x.numel():
        _run("unpack", as_line(x).view(_INTEGER[dtype]), bits, dtype)
    return x


def pack_torch(x: Tensor) -> Tensor:
    """The reference of :func:`pack`: a byte a value beside the input, no float."""
    fired = as_line(x) != 0
    fired = torch.nn.functional.pad(fired, (0, -fired.numel() % 32)).view(torch.uint8)
    place = torch.arange(8, dtype=torch.uint8, device=x.device)
    return (fired.view(-1, 8) << place).sum(1, dtype=torch.uint8).view(torch.int32)


def unpack_torch(
    bits: Tensor, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """The reference of :func:`unpack`."""
    place = torch.arange(8, dtype=torch.uint8, device=bits.device)
    fired = (bits.view(torch.uint8)[:, None] >> place) & 1
    size = torch.Size(shape).numel()
    return fired.view(-1)[:size].to(dtype).as_strided(tuple(shape), tuple(strides))


def _is_torch_only(device: torch.device) -> bool:
    return torch.compiler.is_compiling() or serving("auto", device.type) == "torch"


def _run(which: str, values: Tensor, words: Tensor, dtype: torch.dtype) -> None:
    """``values``: the floats as integers, in memory order."""
    if values.is_cuda:
        _launch(which, values, words, _ONE[dtype])
        return
    from spikesim.kernels import bits_numba

    array, ints = values.numpy(), words.numpy()
    if which == "pack":
        magnitude = np.iinfo(array.dtype).max
        bits_numba.pack_words(array, array.dtype.type(magnitude), ints.view(np.uint32))
    else:
        size = np.uint16 if array.itemsize == 2 else np.uint32
        bits_numba.unpack_words(ints.view(size), array.dtype.type(_ONE[dtype]), array)


def _launch(which: str, values: Tensor, words: Tensor, one: int) -> None:
    if values.data_ptr() % 16:
        # A view that begins in the middle of a row: 16 bytes at a time need an aligned copy.
        values = values.clone()
    size = 4 * words.numel()
    arguments = np.array(
        [(values.data_ptr(), words.data_ptr(), values.numel(), size, one)], _LAUNCH
    )
    _module(values.element_size()).launch(
        f"{which}_bits", values.device, -(-size // _THREADS), _THREADS, arguments
    )


@cache
def _module(size: int) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(size))


def cuda_text(size: int) -> str:
    """The kernels for values of ``size`` bytes: 2, 4 or 8."""
    return f"#define BYTES {size}\n{cuda_file('bits.cuh')}"
