"""2-D convolution of channels-last maps with up to four channels, such as frames of events.

Matrix units have too little to multiply in windows of up to 3 x 3, and libraries take several times
as long as it takes to write the result. A thread keeps its weights, or its part of their gradient,
in registers, and goes along rows of the map. Sums are float32, rounded once; no atomics, the same
bits in each run.
"""

import math
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikesim.kernels.backends import serving
from spikesim.kernels.call import STORAGES
from spikesim.kernels.pool import Window
from spikesim.kernels.print_cuda import STORAGE_TYPES, cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

CHANNELS = 4
"""Of the map, at most."""
_DTYPES = {torch.float32, torch.float16, torch.bfloat16}
_KERNEL, _STRIDE = 3, 4
"""A larger window is enough for matrix units, and too much for a thread's registers."""
_CONVOLUTION = struct.Struct("=5Q18I")
"""``Convolution`` of ``few_channels.cuh``."""
_THREADS = 128
_WIDTH, _STRIP = 4, 4
"""Channels and neighbouring pixels of a thread."""
_STAGED = 5632
"""float32 of a map in a block's shared memory."""
_ROWS, _COLUMNS = 16, 128
"""Of results in a tile, at most."""
_TILES = 2048
"""That fill a device."""
_BLOCKS = 512
"""That share the tiles for the gradient of the weight."""


def is_served(x: Tensor, weight: Tensor, window: Window) -> bool:
    """Whether there are kernels for maps ``x`` ``[M, C, H, W]`` and ``weight`` ``[O, C, h, w]``."""
    if not x.is_cuda or x.dim() != 4 or serving("auto", "cuda") != "cupy":
        return False
    channels, outputs = x.shape[1], weight.shape[0]
    is_few = 1 <= channels <= CHANNELS and weight.shape[1] == channels and outputs % 8 == 0
    if not is_few or weight.device != x.device or not {x.dtype, weight.dtype} <= _DTYPES:
        return False
    if max(window.kernel) > _KERNEL or max(window.stride) > _STRIDE:
        return False
    size = window.pooled(*x.shape[2:])
    # A map is addressed in 32 bits.
    is_sized = x.numel() > 0 and min(size) > 0
    is_sized = is_sized and max(x[0].numel(), outputs * math.prod(size)) < 2**31
    return is_sized and _is_last(x) and x.data_ptr() % 16 == 0


def _is_last(x: Tensor) -> bool:
    """Whether channels lie innermost; of one channel or pixel, as its strides say."""
    is_dense = x.is_contiguous(memory_format=torch.channels_last)
    return is_dense and x.stride(1) == 1 and x.stride(3) == x.shape[1]


def conv_forward(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """``torch.nn.functional.conv2d`` ``[M, O, H', W']``, channels-last; see :func:`is_served`."""
    shape = (x.shape[0], weight.shape[0], *window.pooled(*x.shape[2:]))
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    plan = _plan(y.shape[0], y.shape[2], y.shape[3], x.shape[1], window)
    module = _module(x.dtype, *weight.shape[:2], window)
    blocks = plan.tiles * (weight.shape[0] // _part(weight.shape[0]))
    arguments = _arguments(plan, x, y, weight, bias, None, window)
    module.launch("conv_forward", x.device, blocks, _THREADS, arguments)
    return y


def conv_weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """The gradient of ``weight``, whose values are not read, from that of the result."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    if grad.data_ptr() % 16:
        grad = grad.clone()
    (outputs, channels), (height, width) = weight.shape[:2], window.kernel
    plan = _plan(grad.shape[0], grad.shape[2], grad.shape[3], channels, window)
    sums = (plan.blocks, height, width, channels, outputs)
    partial = torch.empty(sums, dtype=torch.float32, device=x.device)
    blocks = plan.blocks * (outputs // _part(outputs))
    arguments = _arguments(plan, x, grad, weight, None, partial, window)
    module = _module(x.dtype, outputs, channels, window)
    module.launch("conv_weight_gradient", x.device, blocks, _THREADS, arguments)
    return torch.empty_like(weight).copy_(partial.sum(0).permute(3, 2, 0, 1))


def _part(outputs: int) -> int:
    """Channels of a block's results: a power of two that divides them."""
    return math.gcd(outputs, 64)


@dataclass(frozen=True)
class _Plan:
    """How blocks share the results; the fields of the same names in ``few_channels.cuh``."""

    rows: int
    columns: int
    down: int
    across: int
    tiles: int
    pixels: int
    pitch: int
    blocks: int


@lru_cache(maxsize=4096)
def _plan(images: int, height: int, width: int, channels: int, window: Window) -> _Plan:
    """For results of a size, of maps of so many channels."""
    across = -(-width // _COLUMNS)
    while True:
        columns = -(-width // (across * _STRIP)) * _STRIP
        pixels = (columns - 1) * window.stride[1] + window.kernel[1]
        pitch = -(-pixels * channels // 4) * 4
        fits = (_STAGED // pitch - window.kernel[0]) // window.stride[0] + 1
        if fits >= min(4, height) or columns == _STRIP:
            break
        across += 1
    rows = max(1, min(_ROWS, fits, images * across * height // _TILES))
    down = -(-height // rows)
    rows = -(-height // down)
    across = -(-width // columns)
    tiles = images * down * across
    return _Plan(rows, columns, down, across, tiles, pixels, pitch, min(tiles, _BLOCKS))


def _arguments(
    plan: _Plan,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    partial: Tensor | None,
    window: Window,
) -> bytes:
    pointers = (0 if array is None else array.data_ptr() for array in (x, weight, bias, y, partial))
    return _CONVOLUTION.pack(
        *pointers,
        *x.shape[2:],
        *y.shape[2:],
        *window.padding,
        *(plan.rows, plan.columns, plan.down, plan.across, plan.tiles),
        *(plan.pixels, plan.pitch, plan.blocks),
        *weight.stride(),
    )


@cache
def _module(dtype: torch.dtype, outputs: int, channels: int, window: Window) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(dtype, outputs, channels, window))


def cuda_text(dtype: torch.dtype, outputs: int, channels: int, window: Window) -> str:
    """The kernels for ``channels`` to ``outputs`` channels; the padding is no part of them."""
    real, storage, kind = STORAGE_TYPES[STORAGES[dtype]]
    defines = {
        "STORAGE": kind,
        "THREADS": _THREADS,
        "W": _WIDTH,
        "STRIP": _STRIP,
        "TILE": _STAGED,
        "CHANNELS": channels,
        "KERNEL_H": window.kernel[0],
        "KERNEL_W": window.kernel[1],
        "STRIDE_H": window.stride[0],
        "STRIDE_W": window.stride[1],
        "OUTPUTS": outputs,
        "PART": _part(outputs),
    }
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    types = f"typedef {real} real;\ntypedef {storage} storage;\n"
    return head + types + "".join(map(cuda_file, ("ptx.cuh", "device.cuh", "few_channels.cuh")))
