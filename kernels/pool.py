"""Maximum over windows of a map that keeps four bits a window for its gradient.

The gradient of a maximum needs no more than which value of its window won: a number below
``kernel ** 2``. torch keeps the input and an int64 a window. Two rows of windows share a byte, the
even one in its low half. On a CUDA device CuPy does it where it is there, else torch's own
operations do.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikesim.kernels.backends import serving
from spikesim.kernels.call import STORAGES
from spikesim.kernels.print_cuda import STORAGE_TYPES, cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_THREADS = 128
_POOL = struct.Struct("=3Q6I")
"""``Pool`` of ``pool.cuh``."""


@dataclass(frozen=True)
class Window:
    """What a maximum is taken over; each pair is (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def pooled(self, height: int, width: int) -> tuple[int, int]:
        """Windows along height and width."""
        sizes = zip((height, width), self.kernel, self.stride, self.padding, strict=True)
        h, w = ((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)
        return h, w


def pool_forward(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """The maxima of ``x`` ``[M, C, H, W]`` and the winners, uint8 ``[M, C, ceil(H' / 2), W']``.

    Equal to ``torch.nn.functional.max_pool2d``, NaN and ties included: of equal values the first
    in scan order wins. Both results are channels-last where ``x`` is.
    """
    x = x.contiguous(memory_format=memory_format(x))
    if not _is_served(x, x.shape, window):
        return _forward_torch(x, window)
    y, winners = _empty_results(x, window)
    _launch("pool_forward", x, y, winners, window)
    return y, winners


def takes_bits(like: Tensor, window: Window) -> bool:
    """Whether :func:`pool_bits_forward` serves spikes that lie as ``like`` ``[M, C, H, W]``."""
    is_last = memory_format(like) == torch.channels_last
    return is_last and like.shape[1] % 32 == 0 and _is_served(like, like.shape, window)


def pool_bits_forward(bits: Tensor, like: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """What :func:`pool_forward` gives for spikes of the shape, layout and dtype of ``like``.

    Args:
        bits: int32, bit ``i`` of word ``j`` is spike ``32 j + i`` as they lie in memory.
        like: its values are not read; see :func:`takes_bits`.
        window: what the maxima are taken over.
    """
    y, winners = _empty_results(like, window)
    _launch("pool_bits_forward", like, y, winners, window, bits)
    return y, winners


def pool_backward(
    grad: Tensor,
    winners: Tensor,
    shape: torch.Size,
    lies: torch.memory_format,
    window: Window,
) -> Tensor:
    """The gradient of the input ``shape``, which lay in memory as ``lies`` says."""
    grad = grad.contiguous(memory_format=lies)
    if not _is_served(grad, shape, window):
        return _backward_torch(grad, winners, shape, lies, window)
    of_x = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=lies)
    _launch("pool_backward", of_x, grad, winners, window)
    return of_x


def memory_format(x: Tensor) -> torch.memory_format:
    """How a map lies in memory, or should."""
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def _is_served(x: Tensor, shape: Sequence[int], window: Window) -> bool:
    """Whether there are kernels for maps of ``shape``, on the device and in the dtype of ``x``."""
    if not x.is_cuda or serving("auto", "cuda") == "torch":
        return False
    # Threads are counted in 32 bits.
    is_sized = 0 < math.prod(shape) < 2**31 and min(window.pooled(*shape[2:])) > 0
    return x.dtype in STORAGES and is_sized


def _empty_results(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Room for the maxima and the winners."""
    lies, (height, width) = memory_format(x), window.pooled(*x.shape[2:])
    shape, pairs = (*x.shape[:2], height, width), (*x.shape[:2], (height + 1) // 2, width)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=lies)
    return y, torch.empty(pairs, dtype=torch.uint8, device=x.device, memory_format=lies)


def _forward_torch(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    y, index = torch.ops.aten.max_pool2d_with_indices(
        x, window.kernel, window.stride, window.padding
    )
    across = window.kernel[1]
    row = torch.div(index, x.shape[3], rounding_mode="trunc")
    # The winner is row * across + column, from the corner of its window.
    row *= across - x.shape[3]
    row += index
    row -= _corners(y, window, across)
    winner = row.to(torch.uint8)
    if y.shape[2] % 2:
        winner = torch.nn.functional.pad(winner, (0, 0, 0, 1))
    return y, winner[:, :, 0::2] | winner[:, :, 1::2] << 4


def _backward_torch(
    grad: Tensor, winners: Tensor, shape: torch.Size, lies: torch.memory_format, window: Window
) -> Tensor:
    across = window.kernel[1]
    winner = torch.stack([winners & 15, winners >> 4], 3).flatten(2, 3)[:, :, : grad.shape[2]]
    winner = winner.long()
    index = torch.div(winner, across, rounding_mode="trunc")
    index *= shape[3] - across
    index += winner
    index += _corners(grad, window, shape[3])
    like = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=lies)
    of_x: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        grad,
        like,  # for its shape
        window.kernel,
        window.stride,
        window.padding,
        (1, 1),
        False,
        index.contiguous(memory_format=lies),
    )
    return of_x


def _corners(pooled: Tensor, window: Window, row: int) -> Tensor:
    """Where each window begins, ``[H', W']``, with ``row`` places a row."""
    top, left = (
        torch.arange(count, device=pooled.device) * step - pad
        for count, step, pad in zip(pooled.shape[2:], window.stride, window.padding, strict=True)
    )
    return top[:, None] * row + left


def _launch(
    which: str, x: Tensor, y: Tensor, winners: Tensor, window: Window, bits: Tensor | None = None
) -> None:
    """Run a kernel; it takes ``bits``, if there are any, in place of ``x``."""
    is_last = memory_format(x) == torch.channels_last
    images, inner = (x.shape[0], x.shape[1]) if is_last else (x.shape[0] * x.shape[1], 1)
    run = 16 // y.element_size()
    given = x if bits is None else bits
    if inner % run or given.data_ptr() % 16 or y.data_ptr() % 16:
        run = 1
    (height, width), (step_down, step_across) = x.shape[2:], window.stride
    addresses = given.data_ptr(), y.data_ptr(), winners.data_ptr()
    arguments = _POOL.pack(*addresses, images, height, width, inner, *y.shape[2:])
    blocks = -(-height // step_down) * -(-width // step_across)
    threads = {
        "pool_forward": winners.numel() // run,
        "pool_bits_forward": winners.numel() // 32,
        "pool_backward": images * blocks * inner // run,
    }[which]
    module = _module(y.dtype, run, window)
    module.launch(which, y.device, -(-threads // _THREADS), _THREADS, arguments)


@cache
def _module(dtype: torch.dtype, run: int, window: Window) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(dtype, run, window))


def cuda_text(dtype: torch.dtype, run: int, window: Window) -> str:
    """The kernels; ``run`` neighbouring values a thread."""
    real, storage, kind = STORAGE_TYPES[STORAGES[dtype]]
    defines = {"STORAGE": kind, "V": run, "W": run, "THREADS": _THREADS}
    for name in ("kernel", "stride", "padding"):
        for axis, value in zip("HW", getattr(window, name), strict=True):
            defines[f"{name.upper()}_{axis}"] = value
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    types = f"typedef {real} real;\ntypedef {storage} storage;\n"
    files = "ptx.cuh", "device.cuh", "pool.cuh", "pool_bits.cuh"
    return head + types + "".join(map(cuda_file, files))
