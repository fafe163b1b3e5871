r"""The gradient of what arrived late, by frequencies: work that no delay and no width makes more.

.. math:: dx_i[t] = \sum_o \sum_j k_{jio}\, dy_o[t + d_{io} + j]

is, for each frequency of ``N = T + D - 1`` steps, a product of the matrix of ``dy`` with that of
the synapses, which is made from their taps when it is needed. Gradients are dense in time, so
events do not help; a convolution in time would cost ``D`` products a step. The transforms are
products, too, so that frequencies come in the order that the next product takes, some at a time.

Products are those of ``torch.matmul``, at the precision that torch is told for float32; bfloat16
multiplies bfloat16 and sums float32.

Legend: ``T`` steps, ``B`` batch, ``I`` inputs, ``O`` outputs, ``F = N // 2 + 1`` frequencies.
"""

import math
import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikesim.kernels.call import STORAGES
from spikesim.kernels.print_cuda import STORAGE_TYPES, cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_SPECTRUM = struct.Struct("=4Q6I")
"""``Spectrum`` of ``delay_spectrum.cuh``."""
_THREADS = 128
_WAVES = 8
"""Neighbouring frequencies of a thread."""
ROOM = 1 << 26
"""Bytes of the synapses' matrices that exist at once."""


def input_gradient(grad: Tensor, taps: Tensor, start: Tensor, inputs: int, delays: int) -> Tensor:
    """``dx [T, B, I]`` in the dtype of ``grad``.

    Args:
        grad: ``[T, B, O]``, contiguous.
        taps: ``[n, rows, O]``, in the dtype of sums; row ``r`` has input ``r % I``.
        start: int32 ``[rows, O]``.
        inputs: ``I``.
        delays: ``D``; none is as large.
    """
    steps, batch, outputs = grad.shape
    length = steps + delays - 1
    kind = grad.dtype if grad.dtype == torch.bfloat16 else taps.dtype
    there, back = transforms(steps, length, kind, grad.device)
    flat = grad.to(kind).flatten(1)  # [T, B * O]
    frequencies = length // 2 + 1
    found = torch.empty(frequencies, 2, batch, inputs, dtype=kind, device=grad.device)
    most = max(1, ROOM // (2 * inputs * outputs * kind.itemsize * _WAVES)) * _WAVES
    for first in range(0, frequencies, most):
        many = min(most, frequencies - first)
        of_grad = (there[2 * first : 2 * (first + many)] @ flat).view(many, 2 * batch, outputs)
        synapses = _synapses(taps, start, kind, inputs, length, first, many)
        product = torch.bmm(of_grad, synapses.mT).view(many, 2, batch, 2, inputs)
        re, im = found[first : first + many].unbind(1)
        torch.sub(product[:, 0, :, 0], product[:, 1, :, 1], out=re)
        torch.add(product[:, 0, :, 1], product[:, 1, :, 0], out=im)
    return (back @ found.flatten(2).flatten(0, 1)).view(steps, batch, inputs).to(grad.dtype)


@lru_cache(maxsize=16)
def transforms(
    steps: int, length: int, kind: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """From steps to real and imaginary parts of the frequencies ``[2 F, T]``, and back."""
    frequency = torch.arange(length // 2 + 1, device=device)
    angle = _angles(frequency[:, None] * torch.arange(steps, device=device), length)
    there = torch.stack([angle.cos(), -angle.sin()], 1)  # [F, 2, T]
    # All but the constant, and the fastest of an even length, stand for two.
    is_single = (frequency == 0) | (2 * frequency == length)
    back = there * ((2 - is_single.double()) / length).view(-1, 1, 1)
    return there.flatten(0, 1).to(kind), back.flatten(0, 1).T.to(kind).contiguous()


@lru_cache(maxsize=16)
def _period(length: int, real: torch.dtype, device: torch.device) -> Tensor:
    """``exp(2 pi i n / N)`` for a period and a bit, ``[N + _WAVES, 2]``."""
    angle = _angles(torch.arange(length + _WAVES, device=device), length)
    return torch.stack([angle.cos(), angle.sin()], 1).to(real)


def _angles(n: Tensor, length: int) -> Tensor:
    return (n % length).double() * (2.0 * math.pi / length)


def _synapses(
    taps: Tensor,
    start: Tensor,
    kind: torch.dtype,
    inputs: int,
    length: int,
    first: int,
    many: int,
) -> Tensor:
    """``[many, 2 I, O]``: what synapses do to a frequency, all real parts before the imaginary."""
    count, rows, outputs = taps.shape
    to = torch.empty(many, 2 * inputs, outputs, dtype=kind, device=taps.device)
    waves = _period(length, taps.dtype, taps.device)
    pointers = (array.data_ptr() for array in (taps, start, waves, to))
    arguments = _SPECTRUM.pack(*pointers, rows, inputs, outputs, first, many, length)
    blocks = -(-inputs * outputs // _THREADS) * -(-many // _WAVES)
    module = _module(taps.dtype, kind, count)
    module.launch("spectrum", taps.device, blocks, _THREADS, arguments)
    return to


@cache
def _module(real: torch.dtype, kind: torch.dtype, taps: int) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(real, kind, taps))


def cuda_text(real: torch.dtype, kind: torch.dtype, taps: int) -> str:
    """The kernel that makes the synapses' matrices of dtype ``kind``."""
    _, storage, number = STORAGE_TYPES[STORAGES[kind]]
    defines = {"STORAGE": number, "THREADS": _THREADS, "WAVES": _WAVES, "TAPS": taps, "W": 1}
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    types = f"typedef {STORAGE_TYPES[STORAGES[real]][0]} real;\ntypedef {storage} storage;\n"
    return head + types + "".join(map(cuda_file, ("ptx.cuh", "device.cuh", "delay_spectrum.cuh")))
