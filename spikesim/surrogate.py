r"""Surrogate gradients: forward :math:`s = [u \ge 0]`, backward :math:`ds/du = g(u)`.

Each surrogate is a frozen dataclass with two pure functions: ``derivative`` :math:`g(u)`, in closed
form and in the operator set of :mod:`spikesim.ops`, and ``primitive``, a smooth step with
derivative :math:`g` and value 1/2 at 0 (used to check gradients by finite differences).
``u`` is the membrane above its threshold, in the unit of the membrane.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.ops import absolute, clamp, exp, maximum, minimum, where

__all__ = [
    "ATan",
    "FastSigmoid",
    "Gaussian",
    "MultiGaussian",
    "Rectangle",
    "Sigmoid",
    "Smoothed",
    "Surrogate",
    "Triangle",
]


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(u: Tensor, surrogate: "Surrogate") -> Tensor:
        # torch.compile fuses the two passes, and in torch 2.11 loses the gradient of an ``out=``.
        if torch.compiler.is_compiling():
            return (u >= 0.0).to(u.dtype)
        # One pass over memory: a comparison to bool and a cast cost four times as much.
        return torch.ge(u, 0.0, out=torch.empty_like(u))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, "Surrogate"], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.surrogate = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0] * ctx.surrogate.derivative(ctx.saved_tensors[0]), None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, None], u: Tensor, surrogate: "Surrogate"
    ) -> tuple[Tensor, int | None]:
        spikes: Tensor = _Spike.apply(u, surrogate)  # type: ignore[no-untyped-call]
        return spikes, in_dims[0]


class Surrogate:
    """Base of all surrogates; a subclass gives ``derivative`` and ``primitive``."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if not isinstance(value, Surrogate) and not 0 < value < math.inf:
                name = type(self).__name__
                raise UserError(f"{field.name} of {name} must be finite and > 0, got {value}")

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        raise NotImplementedError

    def primitive(self, u: Tensor) -> Tensor:
        """A smooth step with derivative :math:`g(u)`."""
        raise NotImplementedError

    def spike(self, u: Tensor) -> Tensor:
        """The hard step with this surrogate's gradient."""
        spikes: Tensor = _Spike.apply(u, self)  # type: ignore[no-untyped-call]
        return spikes


@dataclass(frozen=True)
class Smoothed(Surrogate):
    """The smooth step in place of the hard one: a neuron with true derivatives, for tests."""

    of: Surrogate

    def derivative(self, u: Tensor) -> Tensor:
        """The derivative of the smooth step."""
        return self.of.derivative(u)

    def primitive(self, u: Tensor) -> Tensor:
        """The smooth step."""
        return self.of.primitive(u)

    def spike(self, u: Tensor) -> Tensor:
        """The smooth step, differentiated by autograd."""
        return self.of.primitive(u)


@dataclass(frozen=True)
class ATan(Surrogate):
    r"""Arctangent: :math:`g(u) = \frac{\alpha / 2}{1 + (\pi \alpha u / 2)^2}`, area 1.

    Reference: Fang et al. (2021), PLIF; the default of SpikingJelly with ``alpha=2``.
    """

    alpha: float = 2.0

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        scaled = u * (0.5 * math.pi * self.alpha)
        return (0.5 * self.alpha) / (1.0 + scaled * scaled)

    def primitive(self, u: Tensor) -> Tensor:
        r""":math:`\arctan(\pi \alpha u / 2) / \pi + 1/2`."""
        return torch.atan(u * (0.5 * math.pi * self.alpha)) / math.pi + 0.5


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    r"""Logistic: :math:`g(u) = \alpha \sigma(\alpha u) (1 - \sigma(\alpha u))`, area 1."""

    alpha: float = 4.0

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        # exp of -|alpha u| never overflows; g is even, so the sign is free.
        e = exp(-absolute(u * self.alpha))
        g: Tensor = self.alpha * e / ((1.0 + e) * (1.0 + e))
        return g

    def primitive(self, u: Tensor) -> Tensor:
        r""":math:`\sigma(\alpha u)`."""
        return torch.sigmoid(u * self.alpha)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    r"""Fast sigmoid, SuperSpike: :math:`g(u) = (1 + k |u|)^{-2}`, height 1, area :math:`2/k`.

    Reference: Zenke & Ganguli (2018), SuperSpike, there with ``slope=100``.
    """

    slope: float = 25.0

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        base = 1.0 + absolute(u) * self.slope
        g: Tensor = 1.0 / (base * base)
        return g

    def primitive(self, u: Tensor) -> Tensor:
        r""":math:`u / (1 + k |u|) + 1/2`, from :math:`1/2 - 1/k` to :math:`1/2 + 1/k`."""
        smooth: Tensor = u / (1.0 + absolute(u) * self.slope) + 0.5
        return smooth


@dataclass(frozen=True)
class Triangle(Surrogate):
    r"""Triangle: :math:`g(u) = \max(0, \gamma - |u|) / \gamma^2`, area 1.

    Reference: Esser et al. (2016); Bellec et al. (2018).
    """

    width: float = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        g: Tensor = maximum(self.width - absolute(u), 0.0) * (1.0 / (self.width * self.width))
        return g

    def primitive(self, u: Tensor) -> Tensor:
        """A parabola each side of 0."""
        z = clamp(u * (1.0 / self.width), -1.0, 1.0)
        smooth: Tensor = 0.5 + z - 0.5 * z * absolute(z)
        return smooth


@dataclass(frozen=True)
class Rectangle(Surrogate):
    r"""Rectangle: :math:`g(u) = 1/w` where :math:`|u| < w/2`, else 0; area 1.

    Reference: Wu et al. (2018), STBP.
    """

    width: float = 1.0

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        size = absolute(u)
        # The minimum is a zero of u's dtype: two plain numbers would give torch's default dtype.
        g: Tensor = where(size < 0.5 * self.width, 1.0 / self.width, minimum(size, 0.0))
        return g

    def primitive(self, u: Tensor) -> Tensor:
        """A ramp."""
        ramp: Tensor = clamp(u * (1.0 / self.width) + 0.5, 0.0, 1.0)
        return ramp


@dataclass(frozen=True)
class Gaussian(Surrogate):
    r"""Gaussian density: :math:`g(u) = \mathcal N(u; 0, \sigma)`, area 1."""

    sigma: float = 0.5

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        return _density(u, 0.0, self.sigma)

    def primitive(self, u: Tensor) -> Tensor:
        """The normal distribution function."""
        return _distribution(u, 0.0, self.sigma)


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    r"""A Gaussian with negative tails, area :math:`(1 - h) / 2`.

    .. math::
        g(u) = \tfrac12 \left[(1 + h) \mathcal N(u; 0, \sigma) - h \mathcal N(u; \sigma, 6\sigma)
               - h \mathcal N(u; -\sigma, 6\sigma)\right]

    Reference: after Yin, Corradi & Bohté (2021).
    """

    sigma: float = 0.5
    h: float = 0.15

    def derivative(self, u: Tensor) -> Tensor:
        """The pretended derivative :math:`g(u)`."""
        tails = _density(u, self.sigma, 6 * self.sigma) + _density(u, -self.sigma, 6 * self.sigma)
        return 0.5 * ((1.0 + self.h) * _density(u, 0.0, self.sigma) - self.h * tails)

    def primitive(self, u: Tensor) -> Tensor:
        """The sum of normal distribution functions, shifted to 1/2 at 0."""
        right = _distribution(u, self.sigma, 6 * self.sigma)
        left = _distribution(u, -self.sigma, 6 * self.sigma)
        centre = (1.0 + self.h) * _distribution(u, 0.0, self.sigma)
        return 0.5 * (centre - self.h * (left + right)) + 0.25 * (1.0 + self.h)


def _density(u: Tensor, mean: float, sigma: float) -> Tensor:
    z = (u - mean) * (1.0 / sigma)
    density: Tensor = exp(z * z * -0.5) * (1.0 / (sigma * math.sqrt(2.0 * math.pi)))
    return density


def _distribution(u: Tensor, mean: float, sigma: float) -> Tensor:
    return 0.5 * (1.0 + torch.erf((u - mean) / (sigma * math.sqrt(2.0))))
