"""The quadratic integrate-and-fire neuron."""

import math
from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neuron import Neuron
from spikesim.ops import absolute, where
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number

_TERMS = 10


class QIF(Neuron):
    r"""Quadratic integrate-and-fire neuron, from :math:`-\infty` to :math:`\infty`, exact.

    .. math::
        \tau \dot v = v^2 + I_e + I, \quad v = \infty: \; v \leftarrow -\infty

    With a constant :math:`I` in a step this has the solution

    .. math::
        v(dt) = \frac{v c + I s}{c - v s}, \quad
        c = \cos(\sqrt I \, dt / \tau), \quad s = \sin(\sqrt I \, dt / \tau) / \sqrt I,

    hyperbolic for :math:`I < 0`, whose denominator passes 0 where ``v`` passes infinity: that is
    the spike, and ``v`` goes on below without a reset. Constant :math:`I > 0` fires with the period
    :math:`\pi \tau / \sqrt I`.

    Args:
        tau: time constant, ms.
        i_e: constant input; with one below 0 the neuron rests at :math:`-\sqrt{-I_e}`.
        v_initial: ``v`` at first.
        surrogate: the pretended derivative of the spike in :math:`v s - c`.
        dt: step length, ms; :math:`\sqrt{|I|} \, dt / \tau` must stay below 2 (at most one spike).
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: inputs ``delta`` (jumps of ``v`` at the end of a step) and ``current`` ``[T, B, ...]``,
    dimensionless -> spikes ``[T, B, ...]``, each 0 or 1; state ``v`` ``[B, ...]``.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Ermentrout & Kopell (1986), whose theta neuron is :math:`v = \tan(\theta / 2)`;
    Montbrió, Pazó & Roxin (2015).

    >>> import torch
    >>> zero = torch.zeros(1000, 1, 1)
    >>> int(QIF(tau=10.0)({"delta": zero, "current": zero + 5.0}).sum())  # 1000 / (10 pi / 2)
    64
    """

    inputs = ("delta", "current")
    states = ("v",)

    def __init__(
        self,
        tau: Number = 10.0,
        i_e: Number = -1.0,
        v_initial: Number = -1.0,
        *,
        surrogate: Surrogate = ATan(),
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        self.surrogate = surrogate
        self.add_parameter("tau", tau, Positive())
        self.add_parameter("i_e", i_e)
        self.add_parameter("v_initial", v_initial)

    def derived(self, p: Named) -> dict[str, Number]:
        """A step in units of ``tau``, and its square."""
        part: Number = self.dt / p.tau
        return {"part": part, "minus_square": -part * part}

    def initial(self, p: Named) -> dict[str, Number]:
        """``v_initial``."""
        return {"v": p.v_initial}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        current = inputs.current + p.i_e
        square = current * p.minus_square
        c = _series(square, 0)
        s = _series(square, 1) * p.part
        below = c - state.v * s
        spikes = self.spike(-below)
        # At infinity itself v is a large number below: the next step takes it from there.
        below = where(absolute(below) < 1e-30, -1e-30, below)
        return Named(v=(state.v * c + current * s) / below + inputs.delta), spikes


def _series(square: Tensor, odd: int) -> Tensor:
    r""":math:`\sum_k \mathrm{square}^k / (2 k + \mathrm{odd})!`: cosine or sine over its angle."""
    total = square * (1.0 / math.factorial(2 * _TERMS + odd))
    for k in range(_TERMS - 1, 0, -1):
        total = (total + 1.0 / math.factorial(2 * k + odd)) * square
    return total + 1.0
