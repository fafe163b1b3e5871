r"""Convolutions over time whose cost hardly grows with the longest delay: by frequencies.

.. math:: y_o[t] = \sum_i \sum_d k_{oid}\, x_i[t - d]

is, for each frequency of ``N = T + D - 1`` steps, a product of matrices. The transforms are
products, too (:mod:`spikesim.kernels.delay_spectrum`). Sums are float32 whatever is stored (float64
of float64), at the precision that torch is told for products, so what arrives is spread over all
steps at that precision. The synapses' matrices exist for some frequencies at a time, in the
backward pass anew: nothing is saved but input and kernel.

Legend: ``T`` steps, ``B`` batch, ``I`` inputs, ``O`` outputs, ``D`` delays.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spikesim.kernels.call import real_dtype
from spikesim.kernels.delay_spectrum import ROOM, transforms

FREQUENCIES = 3
"""A product of matrices for each step by frequencies costs what so many delays in time do."""


def cost(x: Tensor, outputs: int, delays: int) -> float:
    """What :func:`convolved` does, counted in delays of a convolution in time."""
    steps, batch, inputs = x.shape
    if not x.numel():
        return math.inf  # torch convolves no empty steps
    transforms = steps * (1 / inputs + 1 / outputs) + delays / batch
    return min(delays, FREQUENCIES * (1 + delays / steps) * (2 + transforms))


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """``y [T, B, O]`` in the dtype of ``x``, in time or by frequencies; differentiable.

    Args:
        x: ``[T, B, I]``.
        kernel: ``[O, I, D]``, from the largest delay to none.
    """
    outputs, _, delays = kernel.shape
    if cost(x, outputs, delays) < delays:
        y: Tensor = torch.ops.spikesim.convolved(x, kernel)
        return y
    late = F.pad(x.permute(1, 2, 0), (delays - 1, 0))
    return F.conv1d(late, kernel.to(x.dtype)).permute(2, 0, 1)


class _Transforms:
    """Between steps and frequencies, some at a time; real parts before imaginary ones."""

    def __init__(self, x: Tensor, kernel: Tensor) -> None:
        (self.steps, self.batch, self.inputs), self.kind = x.shape, real_dtype(x.dtype)
        self.outputs, _, delays = kernel.shape
        length = self.steps + delays - 1
        self.there, self.back = transforms(self.steps, length, self.kind, x.device)
        self.of_delays = transforms(delays, length, self.kind, x.device)[0].flip(1)
        self.kernel = kernel.to(self.kind).flatten(0, 1)  # [O * I, D]

    def parts(self) -> Iterator[slice]:
        """Rows of the transforms, two a frequency."""
        size = 2 * self.inputs * self.outputs * self.kind.itemsize
        most = 2 * max(1, ROOM // size)
        for first in range(0, len(self.there), most):
            yield slice(first, first + most)

    def spectrum(self, flat: Tensor, rows: slice) -> Tensor:
        """Of ``[T, B * n]``: ``[f, 2 B, n]``."""
        return (self.there[rows] @ flat).view(-1, 2 * self.batch, flat.shape[1] // self.batch)

    def synapses(self, rows: slice) -> tuple[Tensor, Tensor]:
        """The kernel's real and imaginary parts, ``[f, O, I]`` each."""
        of_kernel = self.of_delays[rows] @ self.kernel.mT
        both = of_kernel.view(-1, 2, self.outputs, self.inputs)
        return both[:, 0], both[:, 1]


def _product(of_x: Tensor, re: Tensor, im: Tensor, sign: int) -> Tensor:
    """``[f, 2 B, n]``: of_x times ``re + sign * i * im``."""
    by_re, by_im = of_x @ re, of_x @ im
    half = of_x.shape[1] // 2
    by_re[:, :half].sub_(by_im[:, half:], alpha=sign)
    by_re[:, half:].add_(by_im[:, :half], alpha=sign)
    return by_re


def _forward(x: Tensor, kernel: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        do = _Transforms(x, kernel)
        flat = x.to(do.kind).flatten(1)
        y = flat.new_zeros(do.steps, do.batch * do.outputs)
        for rows in do.parts():
            re, im = do.synapses(rows)
            of_y = _product(do.spectrum(flat, rows), re.mT, im.mT, 1)
            y.addmm_(do.back[:, rows], of_y.view(-1, y.shape[1]))
        return y.view(do.steps, do.batch, do.outputs).to(x.dtype)


def _backward(grad: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast(x.device.type, enabled=False):
        do = _Transforms(x, kernel)
        flat, of_y = x.to(do.kind).flatten(1), grad.to(do.kind).flatten(1)
        dx, d_kernel = torch.zeros_like(flat), torch.zeros_like(do.kernel)
        half = do.batch
        for rows in do.parts():
            # The transposed inverse transform: what stands for two frequencies counts twice.
            g = (do.back[:, rows].mT @ of_y).view(-1, 2 * half, do.outputs)
            of_x = do.spectrum(flat, rows)
            re, im = do.synapses(rows)
            dx.addmm_(do.there[rows].mT, _product(g, re, im, -1).view(-1, dx.shape[1]))
            turned = torch.cat([g[:, half:], -g[:, :half]], 1)
            d_re, d_im = g.mT @ of_x, turned.mT @ of_x  # [f, O, I]
            d_rows = torch.stack([d_re, d_im], 1).view(-1, d_kernel.shape[0])
            d_kernel.addmm_(d_rows.mT, do.of_delays[rows])
        return dx.view_as(x).to(x.dtype), d_kernel.view_as(kernel).to(kernel.dtype)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = torch.ops.spikesim.convolved_backward(grad, *ctx.saved_tensors)
    return found


_LIBRARY: Any = torch.library.Library("spikesim", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("convolved(Tensor x, Tensor kernel) -> Tensor")
_LIBRARY.define("convolved_backward(Tensor grad, Tensor x, Tensor kernel) -> (Tensor, Tensor)")
for _name, _real, _fake in (
    ("convolved", _forward, lambda x, kernel: x.new_empty(*x.shape[:2], len(kernel))),
    (
        "convolved_backward",
        _backward,
        lambda grad, x, kernel: (x.new_empty(x.shape), kernel.new_empty(kernel.shape)),
    ),
):
    _LIBRARY.impl(_name, _real, "CompositeExplicitAutograd")
    torch.library.register_fake(f"spikesim::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "spikesim::convolved",
    _gradient,
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    lib=_LIBRARY,
)
