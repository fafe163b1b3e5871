r"""Weights of a few bits whose step is learned with them (LSQ).

.. math::
    \bar w = \mathrm{round}(\mathrm{clip}(w / s, -Q_N, Q_P)), \qquad \hat w = s \bar w, \qquad
    Q_N = 2^{b-1}, \quad Q_P = 2^{b-1} - 1

.. math::
    \frac{\partial \hat w}{\partial w} = [-Q_N < w/s < Q_P], \qquad
    \frac{\partial \hat w}{\partial s} = g \begin{cases}
        \mathrm{round}(w/s) - w/s & -Q_N < w/s < Q_P \\
        -Q_N & w/s \le -Q_N \\ Q_P & w/s \ge Q_P \end{cases}, \qquad
    g = \frac{1}{\sqrt{N_W Q_P}}

with :math:`N_W` weights a step.

Reference: Esser et al. (2020), *Learned step size quantization*, ICLR, arXiv 1902.08153. Published
with one step a layer; with one for each output, :math:`N_W` counts the weights of that output.
"""

import math
from collections.abc import Collection
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

from spikesim.compression.layers import Model, Weighted, parametrization, weighted
from spikesim.errors import UserError

Per: TypeAlias = Literal["tensor", "channel"]

SMALLEST = 1e-8
"""Of a step: none is 0, where all weights are, or where training takes it through 0."""


class LSQ(nn.Module):
    """What makes quantised weights of trained ones, as a parametrization of ``weight``.

    Args:
        weight: as they are before, which sets the first step: ``2 mean|w| / sqrt(Q_P)``.
        bits: of a weight, 2 to 8.
        per: one step for the ``"tensor"``, or one for each output ``"channel"``.

    Attributes:
        step: learned; its absolute value counts.

    Raises:
        UserError: a number of bits out of its range, or weights that are not finite.
    """

    def __init__(self, weight: Tensor, bits: int, per: Per = "tensor") -> None:
        super().__init__()
        if bits not in range(2, 9):
            raise UserError(f"bits of a weight must be a whole number from 2 to 8, got {bits}")
        if per not in ("tensor", "channel"):
            raise UserError(f"per must be 'tensor' or 'channel', got {per!r}")
        if not torch.isfinite(weight).all():
            raise UserError("weights that are NaN or infinite cannot be quantised; train anew")
        self.bits, self.per = bits, per
        self.lowest, self.highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        dims = tuple(range(0 if per == "tensor" else 1, weight.dim()))
        sizes = weight.detach().abs()
        # Of weights that are there: pruned ones say nothing about the size of the others.
        count = (sizes != 0).sum(dims, keepdim=per == "channel").clamp_min(1)
        mean = sizes.sum(dims, keepdim=per == "channel") / count
        self.step = nn.Parameter(2 * mean / math.sqrt(self.highest))

    def size(self) -> Tensor:
        """The steps as they count, > 0."""
        return self.step.abs().clamp_min(SMALLEST)

    def forward(self, weight: Tensor) -> Tensor:
        """Quantised weights."""
        each = weight.numel() // self.step.numel()
        scale = 1 / math.sqrt(each * self.highest)
        quantised: Tensor = _Quantise.apply(weight, self.size(), self.lowest, self.highest, scale)  # type: ignore[no-untyped-call]
        return quantised

    @torch.no_grad()
    def integers(self, weight: Tensor) -> Tensor:
        """The whole numbers that times ``size()`` are the quantised weights, exactly; int8."""
        return (weight / self.size()).round().to(torch.int8)

    def extra_repr(self) -> str:
        """For ``print(model)``."""
        return f"bits={self.bits}, per={self.per!r}"


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, step: Tensor, lowest: int, highest: int, scale: float
    ) -> Tensor:
        ctx.save_for_backward(weight, step)
        ctx.limits, ctx.scale = (lowest, highest), scale
        return (weight / step).clamp(lowest, highest).round() * step

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, step = ctx.saved_tensors
        lowest, highest = ctx.limits
        ratio = weight / step
        inside = (ratio > lowest) & (ratio < highest)
        by_step = torch.where(inside, ratio.round() - ratio, ratio.clamp(lowest, highest))
        of_step = (gradient * by_step).sum_to_size(step.shape) * ctx.scale
        return gradient * inside, of_step, None, None, None


def quantize(
    model: Model, bits: int = 4, *, per: Per = "tensor", exclude: Collection[str] = ()
) -> Model:
    """Quantise the weights of each linear layer and convolution, in place, to be trained so.

    ``layer.weight`` is quantised from then on, whatever reads it; what is trained is
    ``layer.parametrizations.weight.original`` and the step beside it: make the optimiser
    afterwards. The layer's ``weight_bits`` tells the energy report. A saved state is loaded into a
    model that was quantised alike. Layers that are quantised already stay as they are, so that
    those that an earlier call excluded can have other bits; published is 8 bits for the first and
    the last layer. Biases are not quantised.

    Args:
        model: any module; weights as trained so far.
        bits: of a weight, 2 to 8.
        per: one step a ``"tensor"`` or one for each output ``"channel"``.
        exclude: names of layers to leave out, or patterns such as ``"head*"``.

    Raises:
        UserError: bits or names that do not fit.

    >>> model = quantize(nn.Linear(64, 64), bits=4)
    >>> len(model.weight.unique()) <= 16, model.weight_bits
    (True, 4)
    """
    for layer in weighted(model, exclude).values():
        if parametrization(layer, LSQ) is None:
            parametrize.register_parametrization(
                layer, "weight", LSQ(layer.weight.detach(), bits, per)
            )
            layer.weight_bits = bits  # type: ignore[assignment]
    return model


def integers(layer: Weighted) -> tuple[Tensor, Tensor]:
    """Whole numbers ``[out, ...]`` of a quantised layer, int8, and their step.

    ``whole * step`` is ``layer.weight``, bit for bit: a chip adds whole numbers and scales once.

    Raises:
        UserError: the layer is not quantised.
    """
    lsq = parametrization(layer, LSQ)
    if lsq is None:
        raise UserError(f"this {type(layer).__name__} is not quantised; call quantize first")
    return lsq.integers(layer.weight), lsq.size().detach()
