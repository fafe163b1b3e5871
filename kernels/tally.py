"""Sums over what enters a layer, which is read once: by CuPy on a CUDA device, else by numba."""

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.print_cuda import cuda_file
from spikesim.kernels.threads import share

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_FORMATS = {
    torch.bool: (0, 1, "unsigned char"),
    torch.uint8: (0, 1, "unsigned char"),
    torch.int8: (0, 1, "signed char"),
    torch.int16: (0, 1, "short"),
    torch.int32: (0, 1, "int"),
    torch.int64: (0, 1, "long long"),
    torch.float16: (10, 0x3C00, "void"),
    torch.bfloat16: (7, 0x3F80, "void"),
    torch.float32: (23, 0x3F800000, "void"),
    torch.float64: (52, 0x3FF0000000000000, "void"),
}
"""Bits of a number's fraction, 0 of an integer's, the bits of 1, and the type of an integer."""

_BITS = {
    torch.bool: torch.uint8,
    torch.uint8: torch.uint8,
    torch.int8: torch.int8,
    torch.int16: torch.int16,
    torch.int32: torch.int32,
    torch.int64: torch.int64,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
"""Integers of the same size."""
_TALLY = np.dtype(
    [(name, "u8") for name in ("x", "fan_out", "sums")]
    + [(name, "i8") for name in ("packs", "stride", "features", "blocks")]
)
_THREADS = 256
_ENOUGH = 2**18
"""Threads that fill a large GPU."""


def is_served(x: Tensor) -> bool:
    """Whether there are kernels for values of this dtype."""
    return x.dtype in _FORMATS


def count_on_cpu(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each group and feature what is not zero, of each group how many are neither 0 nor 1.

    Args:
        x: contiguous ``[groups, rows, F]``.

    Returns:
        int32 ``[groups, F]`` and int64 ``[groups]``.
    """
    from spikesim.kernels import tally_numba

    mantissa, one, _ = _FORMATS[x.dtype]
    bits = (x.view(_BITS[x.dtype])).numpy()
    kind = bits.dtype.type
    magnitude = kind(np.iinfo(kind).max) if mantissa else ~kind(0)
    groups, rows, features = x.shape
    active, odd = np.zeros((groups, features), np.int32), np.zeros(groups, np.int64)

    def work(start: int, stop: int) -> None:
        for group in range(start, stop):
            odd[group] = tally_numba.count_rows(bits[group], magnitude, kind(one), active[group])

    share(work, groups, max(rows * features, 1), 1)
    return torch.from_numpy(active), torch.from_numpy(odd)


def add_tally(x: Tensor, fan_out: Tensor, sums: Tensor) -> None:
    """Add to ``sums`` what ``spikesim.energy.tally`` defines.

    Args:
        x: contiguous ``[groups, rows, F]``, not empty.
        fan_out: contiguous ``[F]``, float64.
        sums: ``[groups, 5]``, float64.
    """
    groups, rows, features = x.shape
    size, address = x.element_size(), x.data_ptr()
    # A whole number of loads in each group, all of them aligned.
    values = math.gcd(16 // size, rows * features, address // size)
    packs = rows * features // values
    # Every so many loads the fan-outs are the same again.
    period = features // math.gcd(features, values)
    stride = period * max(1, min(packs, _ENOUGH // groups) // period)
    blocks = -(-stride // _THREADS)
    pointers = address, fan_out.data_ptr(), sums.data_ptr()
    arguments = np.array([(*pointers, packs, stride, features, blocks)], _TALLY)
    _module(x.dtype, values).launch("tally", x.device, groups * blocks, _THREADS, arguments)


@cache
def _module(dtype: torch.dtype, values: int) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(dtype, values))


def cuda_text(dtype: torch.dtype, values: int) -> str:
    """The kernel that loads ``values`` neighbours at a time."""
    mantissa, one, integer = _FORMATS[dtype]
    size = torch.empty(0, dtype=dtype).element_size()
    defines = {
        "BYTES": size,
        "MANTISSA": mantissa,
        "ONE": f"{one}ull",
        "V": values,
        "WORD": max(size, min(4, size * values)),
        "THREADS": _THREADS,
    }
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    types = f"typedef {integer} integer;\n"
    return head + types + cuda_file("ptx.cuh") + cuda_file("tally.cuh")
