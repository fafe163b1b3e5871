r"""Surrogate gradients: forward :math:`s = [u \ge 0]`, backward :math:`ds/du = g(u)`.

Each surrogate is a frozen dataclass with two pure functions in the operator set of
:mod:`spikesim.ops`: ``derivative`` :math:`g(u)` in closed form, and ``primitive``, a smooth step
whose derivative is :math:`g` (used to check gradients by finite differences).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(u: Tensor, surrogate: "Surrogate") -> Tensor:
        return (u >= 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, "Surrogate"], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.surrogate = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0] * ctx.surrogate.derivative(ctx.saved_tensors[0]), None


class Surrogate:
    """Base of all surrogates; a subclass gives ``derivative`` and ``primitive``."""

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
        """:math:`\\arctan(\\pi \\alpha u / 2) / \\pi + 1/2`."""
        return torch.atan(u * (0.5 * math.pi * self.alpha)) / math.pi + 0.5
