"""What batch norm does beside the neuron: moments of a batch, and the gradient through them.

Arrays are taken as they lie in memory: on the CPU by compiled loops, in half precision by torch; on
a CUDA device by kernels.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels.backends import serving
from spikesim.kernels.layout import as_line
from spikesim.kernels.print_cuda import STORAGE_TYPES, cuda_file
from spikesim.kernels.sequence import dense
from spikesim.types import Number

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_STRIDES = [("packs", "i8"), ("stride", "i8"), ("inner", "u4"), ("channels", "u4")]
_MOMENTS = np.dtype([*_STRIDES, *((name, "u8") for name in ("x", "mean", "squares"))], align=True)
_GRADIENT = np.dtype(
    [
        *_STRIDES,
        *((name, "u8") for name in ("dx", "x", "mean", "inverse", "scale", "centred", "plain")),
        ("share", "f8"),
    ],
    align=True,
)
_THREADS = 256
_BYTES = 16
"""Of one access."""


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel of ``[T, B, C, ...]``: real, ``[C]``.

    torch's where it is quick: on the CPU for channels-last maps and half precision, on CUDA where
    few threads can share. Its kernel for contiguous maps has one block a channel, which leaves most
    of a GPU idle.
    """
    real = torch.promote_types(x.dtype, torch.float32)
    if x.numel() and not torch.compiler.is_compiling():
        backend = serving("auto", x.device.type)
        found = None
        if backend == "cupy":
            found = _moments(x)
        elif backend == "numba" and x.dtype == real and x.is_contiguous() and _inner(x) > 1:
            found = _channel_moments(x)
        if found is not None:
            return found
    if x.device.type == "cpu" and x.dtype != real:
        # On the CPU it is the running statistics that ask for sums in float32.
        wide = [torch.zeros(x.shape[2], dtype=real) for _ in range(2)]
        return torch.batch_norm_update_stats(x.flatten(0, 1), wide[0], wide[1], 0.0)
    return torch.batch_norm_update_stats(x.flatten(0, 1), None, None, 0.0)


def add_statistics_gradient(
    dx: Tensor,
    x: Tensor,
    mean: Tensor,
    inverse: Tensor,
    scale: Tensor,
    centred: Tensor,
    plain: Tensor,
    count: Number,
    *,
    backend: str,
) -> None:
    r"""``dx -= scale * (plain + (x - mean) * inverse**2 * centred) / count``, per channel.

    Args:
        dx: changed in place, ``[T, B, C, ...]``, dense.
        x: the same dtype, shape and strides.
        mean, inverse, scale: of the batch norm, real ``[C]``.
        centred, plain: sums of ``g * (x - mean)`` and of ``g``, the gradient of what the norm
            gives; real ``[C]``.
        count: values that the sums run over.
        backend: ``"torch"``, ``"numba"`` or ``"cupy"``.
    """
    if not dx.numel():
        return
    if isinstance(count, Tensor):
        centred, plain, count = centred / count, plain / count, 1.0
    if backend == "cupy":
        _launch(dx, x, (mean, inverse, scale, centred, plain), 1.0 / count)
        return
    factor = scale * (-1.0 / count)
    slope, offset = factor * inverse.square() * centred, factor * plain
    if backend == "numba" and dx.dtype == mean.dtype:
        _loop(dx, x, mean, slope, offset)
    else:
        mean, slope, offset = (
            values.view(-1, *[1] * (x.dim() - 3)) for values in (mean, slope, offset)
        )
        for d, step in zip(dx, x, strict=True):  # a step at a time: small temporaries
            d.add_((step - mean).mul_(slope).add_(offset))


def _inner(x: Tensor) -> int:
    """Values between two channels of a dense array, in memory."""
    return x.stride(2) if x.shape[2] > 1 else 1


def _loop(dx: Tensor, x: Tensor, *values: Tensor) -> None:
    from spikesim.kernels.batch_norm_numba import add_channels_first, add_channels_last
    from spikesim.kernels.threads import share

    inner, channels = _inner(x), x.shape[2]
    add = add_channels_last if inner == 1 else add_channels_first
    shape = (-1, channels) if inner == 1 else (-1, channels, inner)
    to, of = (as_line(array).view(shape).detach().numpy() for array in (dx, x))
    numbers = [array.numpy() for array in values]
    share(lambda a, b: add(to[a:b], of[a:b], *numbers), len(to), inner * channels, 1)


def _channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    from spikesim.kernels.batch_norm_numba import channel_moments
    from spikesim.kernels.threads import share

    channels = x.shape[2]
    array = x.detach().view(-1, channels, _inner(x)).numpy()
    found = torch.empty(2, channels, dtype=x.dtype)
    mean, variance = found.numpy()
    work = partial(channel_moments, array)
    share(lambda a, b: work(a, b, mean, variance), channels, x.numel() // channels, 1)
    return found[0], found[1]


def _width(*arrays: Tensor) -> int:
    """Values an access, if whole periods of channels are whole accesses, else 1."""
    width = _BYTES // arrays[0].element_size()
    period = _inner(arrays[0]) * arrays[0].shape[2]
    aligned = all(array.data_ptr() % _BYTES == 0 for array in arrays)
    return width if aligned and period % width == 0 else 1


def _threads(packs: int) -> int:
    """Many, but with some packs each."""
    return max(1, max(packs // 64, min(packs // 8, 1 << 17)))


def _moments(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """By one kernel, and torch on what its threads saw; ``None`` where too few could share."""
    (x, *_), _ = dense([x])
    inner, channels, width = _inner(x), x.shape[2], _width(x)
    period, packs = inner * channels // width, x.numel() // width
    wanted = _threads(packs)
    # Every thread sees as many values as another, so that their moments are easily joined.
    rows = _divisor(packs // period, max(1, wanted // period))
    stride = rows * period
    if stride < wanted // 8:
        return None
    real = torch.promote_types(x.dtype, torch.float32)
    seen = torch.empty((2, rows, channels, inner), dtype=real, device=x.device)
    addresses = (array.data_ptr() for array in (x, *seen))
    arguments = np.array([(packs, stride, inner, channels, *addresses)], _MOMENTS)
    _module(x.dtype, width).launch(
        "thread_moments", x.device, -(-stride // _THREADS), _THREADS, arguments
    )
    means, squares = seen
    variance, mean = torch.var_mean(means, (0, 2), correction=0)
    return mean, variance + squares.sum((0, 2)) / (x.numel() // channels)


@cache
def _divisor(of: int, largest: int) -> int:
    return next(n for n in range(min(of, largest), 0, -1) if of % n == 0)


def _launch(dx: Tensor, x: Tensor, values: Sequence[Tensor], share: float) -> None:
    inner, channels, width = _inner(x), x.shape[2], _width(x, dx)
    period, packs = inner * channels // width, dx.numel() // width
    stride = max(1, _threads(packs) // period) * period
    addresses = (array.data_ptr() for array in (dx, x, *values))
    arguments = np.array([(packs, stride, inner, channels, *addresses, share)], _GRADIENT)
    _module(dx.dtype, width).launch(
        "add_statistics_gradient", dx.device, -(-stride // _THREADS), _THREADS, arguments
    )


@cache
def _module(storage: torch.dtype, width: int) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(storage, width))


def cuda_text(storage: torch.dtype, width: int) -> str:
    """The kernel for arrays of a dtype, ``width`` values an access."""
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
