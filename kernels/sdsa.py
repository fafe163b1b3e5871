"""Sums over tokens of the product of two maps, which is never stored, with a mask on the way.

Spike-driven attention is :math:`Q_n \\odot \\mathrm{SN}(\\sum_n K_n \\odot V_n)`. Its forward pass
needs the sum; its backward pass needs :math:`\\sum_n dY_n \\odot Q_n` and
:math:`dY_n \\odot g` of the same values, which one pass over them gives. The neuron between runs as
any other does, on a map of ``N`` times fewer values.

On a CUDA device CuPy does it where it is there, else torch does, one step at a time, so that only
a ``T``-th of the product exists at once. Sums are float32 (float64 of float64), whatever is stored:
exact for spikes up to 2**24 tokens.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.backends import serving
from spikesim.kernels.print_cuda import cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_REAL = {
    torch.float32: ("float", "float", 0),
    torch.float64: ("double", "double", 0),
    torch.float16: ("float", "unsigned short", 1),
    torch.bfloat16: ("float", "unsigned short", 2),
}
_THREADS = 128
_LANES_OF_CHANNELS = 8
"""Enough loads in flight on a large GPU, and still 256 neighbouring bytes a block."""
_LAUNCH = np.dtype(
    [(name, "u8") for name in ("first", "second", "gate", "sums", "masked")]
    + [("outer", "i8"), ("tokens", "u4"), ("inner", "u4")]
)


def token_sums(first: Tensor, second: Tensor) -> Tensor:
    """Sum over tokens of the product: ``[T, B, ..., N, d]`` twice -> ``[T, B, ..., 1, d]``."""
    return _sums(first, second, None)[0]


def token_sums_and_mask(first: Tensor, second: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`token_sums`, and ``first * gate``, for a gate ``[T, B, ..., 1, d]``."""
    sums, masked = _sums(first, second, gate)
    assert masked is not None
    return sums, masked


def _sums(first: Tensor, second: Tensor, gate: Tensor | None) -> tuple[Tensor, Tensor | None]:
    real = torch.float64 if first.dtype == torch.float64 else torch.float32
    shape = (*first.shape[:-2], 1, first.shape[-1])
    sums = torch.empty(shape, dtype=real, device=first.device)
    is_served = first.is_cuda and first.dtype in _REAL and first.dtype == second.dtype
    if is_served and first.numel() > 0 and serving("auto", "cuda") == "cupy":
        return sums, _launch(first, second, gate, sums)
    for t in range(first.shape[0]):
        torch.sum(first[t].to(real) * second[t].to(real), -2, keepdim=True, out=sums[t])
    return sums, None if gate is None else first * gate.to(first.dtype)


def _launch(first: Tensor, second: Tensor, gate: Tensor | None, sums: Tensor) -> Tensor | None:
    """Fill the sums, and give the masked map if there is a gate; it lies as ``second`` does."""
    maps = _maps(second)  # [T, B, C, N]
    is_last = maps.transpose(-1, -2).is_contiguous() and not maps.is_contiguous()
    b = _lie(maps, is_last)
    a = _lie(_maps(first), is_last)
    steps, batch, channels, tokens = maps.shape
    outer, inner = (steps * batch, channels) if is_last else (steps * batch * channels, 1)
    masked = None if gate is None else torch.empty_strided(b.shape, b.stride(), dtype=b.dtype,
                                                           device=b.device)  # fmt: skip
    gates = None if gate is None else gate.to(sums.dtype).contiguous()
    written = [x for x in (a, b, masked) if x is not None]
    run = 16 // a.element_size()
    if (inner if is_last else tokens) % run or any(x.data_ptr() % 16 for x in written):
        run = 1
    lanes = _LANES_OF_CHANNELS
    if not is_last:
        lanes = min(32, 1 << (-(-tokens // run) - 1).bit_length())
    pointers = [0 if x is None else x.data_ptr() for x in (a, b, gates, sums, masked)]
    arguments = np.array([(*pointers, outer, tokens, inner)], _LAUNCH)
    threads = lanes * outer * (inner // run if is_last else 1)
    name = "sums_of_channels" if is_last else "sums_of_rows"
    kernel = _module(a.dtype, run, lanes, gate is not None)
    kernel.launch(name, a.device, -(-threads // _THREADS), _THREADS, arguments)
    if masked is None:
        return None
    return masked.view(*first.shape[:-2], first.shape[-1], tokens).transpose(-1, -2)


def _maps(x: Tensor) -> Tensor:
    """``[T, B, ..., N, d]`` -> ``[T, B, C, N]``: a view, if the heads lie side by side."""
    return x.transpose(-1, -2).flatten(2, -2)


def _lie(maps: Tensor, is_last: bool) -> Tensor:
    """The same values with channels, or else tokens, innermost; copied only if they are not."""
    return maps.transpose(-1, -2).contiguous().transpose(-1, -2) if is_last else maps.contiguous()


@cache
def _module(dtype: torch.dtype, run: int, lanes: int, masked: bool) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(dtype, run, lanes, masked))


def cuda_text(dtype: torch.dtype, run: int, lanes: int, masked: bool) -> str:
    """The kernels for ``run`` neighbouring values a thread and ``lanes`` threads a channel."""
    real, storage, kind = _REAL[dtype]
    defines = {
        "STORAGE": kind, "V": run, "W": run, "SHARE": lanes, "MASKED": int(masked),
        "THREADS": _THREADS,
    }  # fmt: skip
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    types = f"typedef {real} real;\ntypedef {storage} storage;\n"
    return head + types + "".join(map(cuda_file, ("ptx.cuh", "device.cuh", "sdsa.cuh")))
