r"""The Delta Activation Layer: activations on a learned grid, which are to change seldom.

.. math::
    y_t = q\,\mathrm{round}(a_t / q), \qquad d_t = y_{t-1} - y_t, \qquad
    L = r\, n_\mathrm{out} \, \overline{|d_t|}

:math:`q` is learned, :math:`n_\mathrm{out}` the fan-out of one activation, the mean is over
samples, all pairs of steps and all activations. A network that is run on differences
(:mod:`spikesim.delta.incremental`) then multiplies with the few :math:`d_t` that are not 0. As the
values themselves are rounded, not their differences, nothing drifts.

Reference: Yousefzadeh & Sifalakis (2021), *Training for temporal sparsity in deep neural networks,
application in video processing*, arXiv 2107.07305.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed

Granularity: TypeAlias = Literal["layer", "channel", "neuron"]
Gradient: TypeAlias = Literal["published", "lsq"]
GRANULARITIES: tuple[Granularity, ...] = ("layer", "channel", "neuron")
GRADIENTS: tuple[Gradient, ...] = ("published", "lsq")

SMALLEST = 1e-8
"""Of a grid's step, which training may take through 0."""


class DeltaActivation(nn.Module):
    r"""Rounds activations to a learned grid, whose differences over time can be penalised.

    In this order: sum over time (``sigma``), bias, activation, rounding, pooling, difference
    (``level``). By default what comes out are values, not differences: sparsity is only measured,
    by :func:`~spikesim.delta.sparsity.measured`.

    Args:
        shape: of one sample's step, ``[C, ...]`` or ``[N]``.
        granularity: a step of the grid for the ``"layer"``, each ``"channel"`` or each
            ``"neuron"``.
        step: :math:`q` at first, in the unit of the activations, > 0; its absolute value counts.
        learn_step: whether it is learned.
        rate: :math:`r`, how much the differences cost.
        fan_out: :math:`n_\mathrm{out}`, such as ``out_channels * kernel**2``.
        bias: add a learnable number per channel. Layers that see differences may have none
            themselves.
        activation: ``"relu"``, ``"softmax"`` over channels, or ``None``.
        pool: applied to each step's map after rounding, such as ``nn.MaxPool2d(2)``.
        sigma: sum the input over time first, which makes values of the differences that a layer
            of ``level=1`` sent through linear layers.
        level: 0: values :math:`y_t`; 1: :math:`y_t - y_{t-1}` with :math:`y_{-1} = 0`; 2: the same
            without the first step, as an event camera would send it.
        gradient: of the step. ``"published"``: :math:`-\sum g\,\mathrm{round}(a/q)`, with the sign
            reversed and without the rounding's own term, so that the grid becomes coarser unless
            the task objects; ``"lsq"``: :math:`\sum g\,(\mathrm{round}(a/q) - a/q)`, the plain
            one. Activations have the gradient :math:`g` itself in both.

    Shape: ``[T, B, *shape]`` -> the same, pooled; ``T - 1`` steps with ``level=2``.

    Raises:
        UserError: an argument out of its range, or an input of another shape.

    >>> layer = DeltaActivation([1], step=0.5)
    >>> layer(torch.tensor([0.1, 0.3, 0.6, 1.1]).view(4, 1, 1)).flatten().tolist()
    [0.0, 0.5, 0.5, 1.0]
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        granularity: Granularity = "channel",
        step: float = 0.1,
        learn_step: bool = True,
        rate: float = 1.0,
        fan_out: float = 1.0,
        bias: bool = False,
        activation: Literal["relu", "softmax"] | None = None,
        pool: nn.Module | None = None,
        sigma: bool = False,
        level: Literal[0, 1, 2] = 0,
        gradient: Gradient = "published",
    ) -> None:
        super().__init__()
        if not 0 < step < math.inf:
            raise UserError(f"step must be > 0 and finite, got {step}")
        if not (rate >= 0 and fan_out >= 0):
            raise UserError(f"rate and fan_out must be >= 0, got {rate} and {fan_out}")
        for name, value, known in (
            ("granularity", granularity, GRANULARITIES),
            ("gradient", gradient, GRADIENTS),
            ("activation", activation, ("relu", "softmax", None)),
            ("level", level, (0, 1, 2)),
        ):
            if value not in known:
                raise UserError(f"{name} must be one of {known}, got {value!r}")
        self.shape = tuple(shape)
        self.rate, self.fan_out = rate, fan_out
        self.activation, self.sigma, self.level, self.gradient = activation, sigma, level, gradient
        per_channel = (self.shape[0], *(1 for _ in self.shape[1:]))
        size = {"layer": (1,), "channel": per_channel, "neuron": self.shape}[granularity]
        self.step = nn.Parameter(torch.full(size, float(step)), requires_grad=learn_step)
        self.bias = nn.Parameter(torch.zeros(per_channel)) if bias else None
        self.pool = None if pool is None else TimeDistributed(pool)

    def forward(self, x: Tensor) -> Tensor:
        """Values on the grid, or their differences."""
        if tuple(x.shape[2:]) != self.shape:
            raise UserError(f"input is {list(x.shape)}; expected [T, B, *{list(self.shape)}]")
        a = x.cumsum(0) if self.sigma else x
        if self.bias is not None:
            a = a + self.bias
        if self.activation == "relu":
            a = a.relu()
        elif self.activation == "softmax":
            a = a.softmax(2)
        y = quantise(a, self.size(), self.gradient)
        if self.pool is not None:
            y = self.pool(y)
        if self.level == 0:
            return y
        changes = y[1:] - y[:-1]
        return changes if self.level == 2 else torch.cat([y[:1], changes])

    def size(self) -> Tensor:
        """The grid's steps as they count, > 0."""
        return self.step.abs().clamp_min(SMALLEST)

    def differences(self, output: Tensor) -> Tensor:
        """``y[t-1] - y[t]`` of what the layer put out, ``[T - 1, B, ...]``."""
        if self.level == 0:
            return output[:-1] - output[1:]
        return -output[1:] if self.level == 1 else -output

    def penalty(self, output: Tensor) -> Tensor:
        """``rate * fan_out * mean |d|``; 0 for a single step."""
        changes = self.differences(output)
        mean = changes.abs().mean() if changes.numel() else changes.sum()
        return self.rate * self.fan_out * mean

    def density(self, output: Tensor) -> Tensor:
        """The share of differences that are not 0; 0 for a single step."""
        changes = self.differences(output)
        return (changes != 0).sum(dtype=torch.float64) / max(changes.numel(), 1)

    def extra_repr(self) -> str:
        """For ``print(model)``."""
        kind = f"{list(self.step.shape)} steps, gradient={self.gradient!r}, level={self.level}"
        return f"{list(self.shape)}, {kind}, rate={self.rate:g}, fan_out={self.fan_out:g}"


class L1Activation(nn.Module):
    r"""The spatial baseline: activations as they are, with :math:`r n_\mathrm{out} \overline{|a|}`.

    Args:
        rate, fan_out: as of :class:`DeltaActivation`.

    Shape: any -> the same.
    """

    def __init__(self, *, rate: float = 1.0, fan_out: float = 1.0) -> None:
        super().__init__()
        self.rate, self.fan_out = rate, fan_out

    def forward(self, x: Tensor) -> Tensor:
        """The input."""
        # A tensor of its own, so that what is measured is the input of nothing else.
        return x.view_as(x)

    def penalty(self, output: Tensor) -> Tensor:
        """``rate * fan_out * mean |a|``."""
        return self.rate * self.fan_out * output.abs().mean()

    def density(self, output: Tensor) -> Tensor:
        """The share of activations that are not 0."""
        return (output != 0).double().mean()


def quantise(a: Tensor, step: Tensor, gradient: Gradient) -> Tensor:
    """``step * round(a / step)``; gradients as of :class:`DeltaActivation`."""
    y: Tensor = _Quantise.apply(a, step, gradient == "published")  # type: ignore[no-untyped-call]
    return y


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, step: Tensor, published: bool) -> Tensor:
        ctx.save_for_backward(a, step)
        ctx.published = published
        return (a / step).round() * step

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        a, step = ctx.saved_tensors
        ratio = a / step
        by_step = -ratio.round() if ctx.published else ratio.round() - ratio
        return gradient, (gradient * by_step).sum_to_size(step.shape), None
