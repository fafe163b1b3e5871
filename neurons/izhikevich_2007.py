"""Izhikevich's simple model in physical units."""

from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neuron import Neuron
from spikesim.ops import detach
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class Izhikevich2007(Neuron):
    r"""Izhikevich neuron in mV, ms, pA and pF, by Euler's method.

    .. math::
        C v' = k (v - v_r)(v - v_t) - u + I_e + I, \quad u' = a (b (v - v_r) - u), \quad
        v \ge v_\mathrm{peak}: \; v \leftarrow c, \; u \leftarrow u + d

    A step moves ``v`` and then ``u``, each from the old ``v``, and resets at its end if ``v`` is at
    the peak by then. Under a slowly rising current it fires from
    :math:`(k (v_t - v_r) + b)^2 / 4k` on.

    Args:
        c_m: capacitance :math:`C`, pF.
        k: slope of the upstroke, pA/mV^2.
        v_r: resting potential, mV.
        v_t: instantaneous threshold, mV.
        a: rate of recovery, 1/ms.
        b: sensitivity of ``u`` to ``v``, nS.
        c: value of ``v`` after a spike, mV.
        d: jump of ``u`` at a spike, pA.
        v_peak: top of the spike, mV.
        i_e: constant current, pA.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike in ``v - v_peak``.
        dt: step length, ms; the upstroke needs about 0.1 at most.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape. The
    defaults are a regular spiking cell of layer 5; that of 2003, :class:`Izhikevich`, is ``c_m=1``,
    ``k=0.04``, with :math:`v_r, v_t` the roots of :math:`0.04 v^2 + 5 v + 140` and :math:`-b v_r`
    more current.

    Shape: input ``current`` ``[T, B, ...]`` (pA) -> spikes ``[T, B, ...]``, each 0 or 1; states
    ``v`` (mV) and ``u`` (pA) ``[B, ...]``.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Izhikevich (2007), *Dynamical Systems in Neuroscience*, section 8.1.4, equations 8.5
    and 8.6.

    >>> import torch
    >>> current = torch.full((10_000, 1, 1), 100.0, dtype=torch.float64)
    >>> int(Izhikevich2007(dt=0.1)(current).sum())  # in a second
    13
    """

    inputs = ("current",)
    states = ("v", "u")

    def __init__(
        self,
        c_m: Number = 100.0,
        k: Number = 0.7,
        v_r: Number = -60.0,
        v_t: Number = -40.0,
        a: Number = 0.03,
        b: Number = -2.0,
        c: Number = -50.0,
        d: Number = 100.0,
        *,
        v_peak: Number = 35.0,
        i_e: Number = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        dt: float = 0.1,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        self.detach_reset, self.surrogate = detach_reset, surrogate
        self.add_parameter("c_m", c_m, Positive())
        self.add_parameter("k", k, Positive())
        self.add_parameter("v_r", v_r)
        self.add_parameter("v_t", v_t)
        self.add_parameter("a", a)
        self.add_parameter("b", b)
        self.add_parameter("c", c)
        self.add_parameter("d", d)
        self.add_parameter("v_peak", v_peak)
        self.add_parameter("i_e", i_e)

    def derived(self, p: Named) -> dict[str, Number]:
        """A step per capacitance, and the part of ``u`` that follows in a step."""
        return {"per_c": self.dt / p.c_m, "part": self.dt * p.a}

    def initial(self, p: Named) -> dict[str, Number]:
        """At rest."""
        return {"v": p.v_r, "u": 0.0}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        above = state.v - p.v_r
        drive = p.k * above * (state.v - p.v_t) - state.u + (p.i_e + inputs.current)
        v = state.v + drive * p.per_c
        u = state.u + (p.b * above - state.u) * p.part
        s = self.spike(v - p.v_peak)
        r = detach(s) if self.detach_reset else s
        return Named(v=(1.0 - r) * v + r * p.c, u=u + r * p.d), s
