"""What batch norm does beside the neuron: statistics of a batch, and the gradient through them.

Arrays are taken as they lie in memory: on the CPU by compiled loops, in half precision by torch; on
a CUDA device by kernels.
"""

import struct
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikesim.kernels.backends import serving
from spikesim.kernels.layout import as_line
from spikesim.kernels.print_cuda import STORAGE_TYPES, cuda_file
from spikesim.kernels.sequence import dense

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

# The structs of batch_norm.cuh.
_MOMENTS = struct.Struct("=qqII3Q2q")
_STATISTICS = struct.Struct("=4I8Q2q2d")
_FOLD = struct.Struct("=qq2Q")
_SUMS = struct.Struct("=4I4Qd")
_GRADIENT = struct.Struct("=qqII5Q")
_THREADS = 256
_BYTES = 16
"""Of one access."""
_MANY = 1 << 17
"""Threads that fill a device."""


@dataclass(frozen=True)
class Running:
    """Statistics over batches, which a batch moves."""

    mean: Tensor
    variance: Tensor
    tracked: Tensor
    """int64, the number of batches."""
    momentum: float | None
    """The share of the new batch; ``None``: all batches count the same."""


def statistics(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, (biased) variance and ``1 / sqrt(variance + eps)`` of each channel: real, ``[C]``.

    Args:
        x: ``[T, B, C, ...]``, not empty.
        eps: added to the variance.
    """
    if not torch.compiler.is_compiling() and serving("auto", x.device.type) == "cupy":
        (x, *_), _ = dense([x])
        mean, variance, inverse, *_ = joined_statistics(x, eps)
        return mean, variance, inverse
    mean, variance = _moments_on_the_cpu(x)
    return mean, variance, torch.rsqrt(variance + eps)


def _moments_on_the_cpu(x: Tensor) -> tuple[Tensor, Tensor]:
    """torch's where it is quick: for channels-last maps and half precision."""
    real = torch.promote_types(x.dtype, torch.float32)
    if x.numel() and not torch.compiler.is_compiling() and x.device.type == "cpu":
        is_rows = x.dtype == real and x.is_contiguous() and inner_of(x) > 1
        if is_rows and serving("auto", "cpu") == "numba":
            return _channel_moments(x)
    if x.device.type == "cpu" and x.dtype != real:
        # On the CPU it is the running statistics that ask for sums in float32.
        wide = [torch.zeros(x.shape[2], dtype=real) for _ in range(2)]
        return torch.batch_norm_update_stats(x.flatten(0, 1), wide[0], wide[1], 0.0)
    return torch.batch_norm_update_stats(x.flatten(0, 1), None, None, 0.0)


def joined_statistics(
    x: Tensor,
    eps: float,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    running: Running | None = None,
) -> Tensor:
    """Mean, variance, inverse deviation, scale and shift, real ``[5, C]``; by two CUDA kernels.

    Args:
        x: ``[T, B, C, ...]``, dense, not empty.
        eps: added to the variance.
        weight, bias: real, contiguous ``[C]``; 1 and 0 where not given.
        running: moved by this batch.
    """
    channels, width = x.shape[2], _width(x)
    plan = _plan(x.numel(), inner_of(x), channels, width)
    real = torch.promote_types(x.dtype, torch.float32)
    seen = torch.empty((2, plan.stride * width), dtype=real, device=x.device)
    found = torch.empty((5, channels), dtype=real, device=x.device)
    mean = seen.data_ptr()
    squares = mean + plan.stride * width * real.itemsize
    kernels = _module(x.dtype, width)
    kernels.launch(
        "thread_moments",
        x.device,
        -(-plan.stride // _THREADS),
        _THREADS,
        _MOMENTS.pack(*plan.strides, x.data_ptr(), mean, squares, *plan.packs_each),
    )
    momentum, moved = 0.0, (0, 0, 0)
    if running is not None:
        momentum = -1.0 if running.momentum is None else running.momentum
        if running.momentum is None:
            running.tracked.add_(1)
        moved = (
            running.mean.data_ptr(),
            running.variance.data_ptr(),
            running.tracked.data_ptr(),
        )
    kernels.launch(
        "join_moments",
        x.device,
        channels,
        _THREADS,
        _STATISTICS.pack(
            *plan.cells,
            mean,
            squares,
            0 if weight is None else weight.data_ptr(),
            0 if bias is None else bias.data_ptr(),
            *moved,
            found.data_ptr(),
            *plan.rows_each,
            *(eps, momentum),
        ),
    )
    return found


def joined_sums(x: Tensor, sums: Tensor, scale_row: int, found: Tensor) -> Tensor:
    """Gradients of weight and bias, and slope and offset of :func:`add_statistics_gradient`.

    Real ``[4, C]``, by one CUDA kernel, or two where there are many sums.

    Args:
        x: the sequence.
        sums: real ``[2, cells]``, of ``g * (x - mean)`` and of ``g``, the gradient of what the norm
            gives; each over equally many neighbouring values of a step, all of one channel.
        scale_row: which row is that of ``g * (x - mean)``.
        found: of :func:`joined_statistics`.
    """
    channels, cells = x.shape[2], sums.shape[1]
    inner = max(1, inner_of(x) * cells // x[0].numel())
    period = inner * channels
    kernels = _module(x.dtype, 1)
    if cells > _MANY:
        stride = max(1, _MANY // period) * period
        folded = sums.new_empty((2, stride))
        arguments = _FOLD.pack(cells, stride, sums.data_ptr(), folded.data_ptr())
        kernels.launch("fold_sums", x.device, -(-2 * stride // _THREADS), _THREADS, arguments)
        sums, cells = folded, stride
    out = torch.empty((4, channels), dtype=found.dtype, device=x.device)
    rows = [sums.data_ptr() + row * cells * sums.itemsize for row in (scale_row, 1 - scale_row)]
    count = x.numel() // channels
    arguments = _SUMS.pack(
        cells // period, inner, channels, 0, *rows, found.data_ptr(), out.data_ptr(), count
    )
    kernels.launch("join_sums", x.device, channels, _THREADS, arguments)
    return out


def add_statistics_gradient(
    dx: Tensor, x: Tensor, mean: Tensor, slope: Tensor, offset: Tensor, *, backend: str
) -> None:
    """``dx += offset + slope * (x - mean)``, per channel.

    Args:
        dx: changed in place, ``[T, B, C, ...]``, dense.
        x: the same dtype, shape and strides.
        mean, slope, offset: real ``[C]``.
        backend: ``"torch"``, ``"numba"`` or ``"cupy"``.
    """
    if not dx.numel():
        return
    if backend == "cupy":
        _launch(dx, x, mean, slope, offset)
    elif backend == "numba" and dx.dtype == mean.dtype:
        _loop(dx, x, mean, slope, offset)
    else:
        mean, slope, offset = (
            values.view(-1, *[1] * (x.dim() - 3)) for values in (mean, slope, offset)
        )
        for d, step in zip(dx, x, strict=True):  # a step at a time: small temporaries
            d.add_((step - mean).mul_(slope).add_(offset))


def inner_of(x: Tensor) -> int:
    """Values between two channels of a dense sequence, in memory."""
    return x.stride(2) if x.shape[2] > 1 else 1


def _loop(dx: Tensor, x: Tensor, *values: Tensor) -> None:
    from spikesim.kernels.batch_norm_numba import add_channels_first, add_channels_last
    from spikesim.kernels.threads import share

    inner, channels = inner_of(x), x.shape[2]
    add = add_channels_last if inner == 1 else add_channels_first
    shape = (-1, channels) if inner == 1 else (-1, channels, inner)
    to, of = (as_line(array).view(shape).detach().numpy() for array in (dx, x))
    numbers = [array.numpy() for array in values]
    share(lambda a, b: add(to[a:b], of[a:b], *numbers), len(to), inner * channels, 1)


def _channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    from spikesim.kernels.batch_norm_numba import channel_moments
    from spikesim.kernels.threads import share

    channels = x.shape[2]
    array = x.detach().view(-1, channels, inner_of(x)).numpy()
    found = torch.empty(2, channels, dtype=x.dtype)
    mean, variance = found.numpy()
    work = partial(channel_moments, array)
    share(lambda a, b: work(a, b, mean, variance), channels, x.numel() // channels, 1)
    return found[0], found[1]


def _launch(dx: Tensor, x: Tensor, *values: Tensor) -> None:
    channels, width = x.shape[2], _width(x, dx)
    plan = _plan(x.numel(), inner_of(x), channels, width)
    addresses = (array.data_ptr() for array in (dx, x, *values))
    arguments = _GRADIENT.pack(*plan.strides, *addresses)
    grid = -(-plan.stride // _THREADS)
    _module(x.dtype, width).launch("add_statistics_gradient", x.device, grid, _THREADS, arguments)


def _width(*arrays: Tensor) -> int:
    """Values an access, if whole periods of channels are whole accesses, else 1."""
    width = _BYTES // arrays[0].element_size()
    period = inner_of(arrays[0]) * arrays[0].shape[2]
    aligned = all(array.data_ptr() % _BYTES == 0 for array in arrays)
    return width if aligned and period % width == 0 else 1


@dataclass(frozen=True)
class _Plan:
    """How threads share a dense array, and what they leave."""

    stride: int
    """Threads."""
    strides: tuple[int, ...]
    """The struct ``Strides``."""
    cells: tuple[int, ...]
    """The struct ``Cells``."""
    packs_each: tuple[int, int]
    """Packs of each thread, and how many threads have one more."""
    rows_each: tuple[int, int]
    """Values of each cell, and how many rows of cells have one more."""


@lru_cache(maxsize=4096)
def _plan(values: int, inner: int, channels: int, width: int) -> _Plan:
    period, packs = inner * channels // width, values // width
    rows = min(packs // period, max(1, _threads(packs, width) // period))
    stride = rows * period
    return _Plan(
        stride,
        (packs, stride, inner, channels),
        (rows, inner, channels, 0),
        divmod(packs, stride),
        divmod(packs // period, rows),
    )


def _threads(packs: int, width: int) -> int:
    """Many, but with some packs each, and not too many cells to be joined."""
    return max(1, min(packs // 16, 4 * _MANY // width))


@cache
def _module(storage: torch.dtype, width: int) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(storage, width))


def cuda_text(storage: torch.dtype, width: int) -> str:
    """The kernels for arrays of a dtype, ``width`` values an access."""
    real, kept, kind = STORAGE_TYPES[str(storage).removeprefix("torch.")]
    return "\n".join(
        (
            f"#define STORAGE {kind}\n#define W {width}\n#define THREADS {_THREADS}",
            f"typedef {real} real;\ntypedef {kept} storage;",
            cuda_file("ptx.cuh"),
            cuda_file("device.cuh"),
            cuda_file("batch_norm.cuh"),
        )
    )
