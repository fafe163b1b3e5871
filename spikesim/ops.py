"""The operators a neuron's ``step`` may use, beside ``+ - * /``, unary minus and comparisons.

The same text runs in two ways: on torch tensors (this file), and on values of a tape that
records a straight line of operations, from which fused kernels are printed. Plain numbers are
accepted too, so that ``derived`` constants of fixed parameters need no tensor.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from spikesim import random
from spikesim.errors import UserError

__all__ = [
    "absolute",
    "bernoulli",
    "clamp",
    "detach",
    "exp",
    "log",
    "maximum",
    "minimum",
    "noise",
    "round_",
    "spike",
    "tanh",
    "where",
]


class SurrogateLike(Protocol):
    """What :func:`spike` needs of a surrogate."""

    def spike(self, u: Tensor) -> Tensor:
        """Heaviside of ``u`` with the surrogate's gradient."""


def _recorded(name: str, *args: Any) -> Any:
    """The tape's answer if one of ``args`` is a tape value, else ``None``."""
    for arg in args:
        record = getattr(arg, "__spikesim_record__", None)
        if record is not None:
            return record(name, *args)
    return None


def _unary(
    name: str, on_tensor: Callable[[Tensor], Tensor], on_number: Callable[[float], float]
) -> Callable[[Any], Any]:
    def operator(a: Any) -> Any:
        if isinstance(a, Tensor):
            return on_tensor(a)
        if isinstance(a, int | float):
            return on_number(a)
        recorded = _recorded(name, a)
        if recorded is None:
            raise UserError(f"{name} takes a tensor, a number or a tape value, got {a!r}")
        return recorded

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = f"Elementwise ``{name}`` of a tensor, a number or a tape value."
    return operator


absolute = _unary("absolute", torch.abs, abs)
exp = _unary("exp", torch.exp, math.exp)
log = _unary("log", torch.log, math.log)
tanh = _unary("tanh", torch.tanh, math.tanh)
detach = _unary("detach", torch.Tensor.detach, float)


class _RoundStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        return torch.round(a)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:
        return grad[0]


round_ = _unary("round_", _RoundStraightThrough.apply, lambda a: float(round(a)))
round_.__doc__ = "Round half to even; the gradient passes straight through."


def where(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where ``condition`` holds, else ``b``; one of the two is an array."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        if isinstance(condition, bool):
            return a if condition else b
        raise UserError(f"where({a}, {b}) has no array to take its dtype from; make one an array")
    recorded = _recorded("where", condition, a, b)
    return torch.where(condition, a, b) if recorded is None else recorded


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two values; a tie gives its gradient to neither side twice."""
    recorded = _recorded("minimum", a, b)
    if recorded is not None:
        return recorded
    return where(a <= b, a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else min(a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two values; a tie gives its gradient to neither side twice."""
    recorded = _recorded("maximum", a, b)
    if recorded is not None:
        return recorded
    return where(a >= b, a, b) if isinstance(a, Tensor) or isinstance(b, Tensor) else max(a, b)


def clamp(a: Any, low: Any, high: Any) -> Any:
    """``a`` kept between ``low`` and ``high``."""
    return minimum(maximum(a, low), high)


def spike(u: Any, surrogate: SurrogateLike) -> Any:
    """1 where ``u >= 0``, else 0; backward uses ``surrogate`` in place of the derivative."""
    recorded = _recorded("spike", u, surrogate)
    return surrogate.spike(u) if recorded is None else recorded


class _Bernoulli(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, u: Tensor) -> Tensor:
        return (u < p).to(p.dtype)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return grad[0], None


def bernoulli(p: Any) -> Any:
    """1 with probability ``p``, else 0, drawn anew for each neuron and step; straight through.

    The gradient of the draw goes to ``p`` as it is. Only a neuron with ``stochastic = True`` draws,
    while it runs; see :mod:`spikesim.random`.
    """
    recorded = _recorded("bernoulli", p)
    if recorded is not None:
        return recorded
    u, like = random.draw("uniform")
    p = torch.as_tensor(p, dtype=None if isinstance(p, Tensor) else like.dtype, device=like.device)
    return _Bernoulli.apply(p.expand(like.shape), u)  # type: ignore[no-untyped-call]


def noise(like: Any) -> Any:
    """A standard normal number for each neuron and step, of the dtype of ``like``; no gradient.

    Only a neuron with ``stochastic = True`` draws, while it runs; see :mod:`spikesim.random`.
    """
    recorded = _recorded("noise", like)
    if recorded is not None:
        return recorded
    z, step = random.draw("normal")
    return z.to(like.dtype if isinstance(like, Tensor) else step.dtype)
