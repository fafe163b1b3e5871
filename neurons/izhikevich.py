"""Izhikevich's simple model of spiking."""

from collections.abc import Collection
from typing import Literal

from torch import Tensor

from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.ops import detach
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number

Scheme = Literal["half_steps", "euler"]


class Izhikevich(Neuron):
    r"""Izhikevich neuron: two equations, twenty kinds of firing.

    .. math::
        v' = q_2 v^2 + q_1 v + q_0 - u + x, \quad u' = a (b (v - v_u) - \lambda u), \quad
        v \ge v_\mathrm{peak}: \; v \leftarrow c, \; u \leftarrow u + d

    Args:
        a: rate of recovery, 1/ms.
        b: sensitivity of ``u`` to ``v``.
        c: value of ``v`` after a spike, mV.
        d: jump of ``u`` at a spike.
        v_peak: top of the spike, mV.
        quadratic: :math:`(q_2, q_1, q_0)`; class 1 excitability and the integrator use
            ``(0.04, 4.1, 108.0)``.
        u_reference: :math:`v_u`, mV; accommodation uses -65.
        u_decay: :math:`\lambda`; accommodation uses 0, for :math:`u' = a b (v + 65)`.
        v_initial: ``v`` before the first step, mV.
        u_initial: ``u`` before the first step; ``None`` is :math:`b \, v_\mathrm{initial}`.
        scheme: ``"half_steps"``: two steps of ``dt/2`` for ``v``, as published in 2003;
            ``"euler"``: one, as in the table of 2004. Then ``u`` with the new ``v``, then the
            reset, at the end of the step that reached the peak.
        detach_reset: no gradient through the reset, which is large beside the surrogate's width.
        surrogate: the pretended derivative of the spike in ``v - v_peak``.
        dt: step length, ms; 1 for ``"half_steps"`` as published, at most 0.5 for ``"euler"``.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: input ``[T, B, ...]``, dimensionless (pA per pF) -> spikes ``[T, B, ...]``, each 0 or 1;
    states ``v`` (mV) and ``u`` ``[B, ...]``.

    Raises:
        UserError: an unknown scheme or a parameter that is not finite.

    Reference: Izhikevich (2003), *Simple model of spiking neurons*; (2004), *Which model to use
    for cortical spiking neurons?*, figure 1.

    >>> import torch
    >>> regular = Izhikevich()
    >>> int(regular(torch.full((1000, 1, 1), 10.0, dtype=torch.float64)).sum())
    20
    """

    states = ("v", "u")

    def __init__(
        self,
        a: Number = 0.02,
        b: Number = 0.2,
        c: Number = -65.0,
        d: Number = 8.0,
        *,
        v_peak: Number = 30.0,
        quadratic: tuple[Number, Number, Number] = (0.04, 5.0, 140.0),
        u_reference: Number = 0.0,
        u_decay: Number = 1.0,
        v_initial: Number = -65.0,
        u_initial: Number | None = None,
        scheme: Scheme = "half_steps",
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(dt=dt, learnable=learnable)
        if scheme not in ("half_steps", "euler"):
            raise UserError(f"scheme must be 'half_steps' or 'euler', got {scheme!r}")
        try:
            q2, q1, q0 = quadratic
        except (TypeError, ValueError):
            raise UserError(
                f"quadratic must be three numbers (q2, q1, q0), got {quadratic!r}"
            ) from None
        self.scheme, self.detach_reset = scheme, detach_reset
        self.surrogate = surrogate
        self.add_parameter("a", a)
        self.add_parameter("b", b)
        self.add_parameter("c", c)
        self.add_parameter("d", d)
        self.add_parameter("v_peak", v_peak)
        self.add_parameter("q2", q2)
        self.add_parameter("q1", q1)
        self.add_parameter("q0", q0)
        self.add_parameter("u_reference", u_reference)
        self.add_parameter("u_decay", u_decay)
        self.add_parameter("v_initial", v_initial)
        self.add_parameter("u_initial", u_initial)

    def initial(self, p: Named) -> dict[str, Number]:
        """``v_initial`` and ``u_initial``."""
        u = p.b * p.v_initial if self.u_initial is None else p.u_initial
        return {"v": p.v_initial, "u": u}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        v, u, x = state.v, state.u, inputs.x
        # The sums run in the published order: trains differ in the last bits otherwise.
        if self.scheme == "half_steps":
            v = v + (p.q2 * v * v + p.q1 * v + p.q0 - u + x) * (0.5 * self.dt)
            v = v + (p.q2 * v * v + p.q1 * v + p.q0 - u + x) * (0.5 * self.dt)
        else:
            v = v + (p.q2 * v * v + p.q1 * v + p.q0 - u + x) * self.dt
        u = u + p.a * (p.b * (v - p.u_reference) - p.u_decay * u) * self.dt
        s = self.spike(v - p.v_peak)
        r = detach(s) if self.detach_reset else s
        return Named(v=(1.0 - r) * v + r * p.c, u=u + r * p.d), s
