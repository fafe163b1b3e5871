"""The adaptive exponential integrate-and-fire neuron."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neurons.conductance import Scheme
from spikesim.neurons.exponential import ExponentialNeuron
from spikesim.neurons.propagators import loss
from spikesim.neurons.receptor import Receptor
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class AdEx(ExponentialNeuron):
    r"""Adaptive exponential integrate-and-fire neuron with conductances or currents.

    .. math::
        C \dot v = g_L (E_L - v) + g_L \Delta e^{(v - V_T) / \Delta} - w
                   + \sum_s g_s (E_s - v) + I, \quad
        \tau_w \dot w = a (v - E_L) - w, \quad
        v \ge v_\mathrm{peak}: \; v \leftarrow v_\mathrm{reset}, \; w \leftarrow w + b

    Args:
        c_m: capacitance, pF.
        g_l: leak conductance, nS.
        e_l: reversal potential of the leak, mV; ``v`` starts there, ``w`` at 0.
        v_t: potential :math:`V_T` from which spikes take off, mV.
        delta_t: their sharpness :math:`\Delta`, mV.
        a: adaptation below threshold, nS.
        b: rise of ``w`` at a spike, pA.
        tau_w: time constant of ``w``, ms.
        v_peak: where a spike ends, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; ``w`` and the receptors go on.
        i_e: constant current, pA.
        tau_ex: time constant of excitation, ms.
        tau_in: time constant of inhibition, ms.
        e_ex: reversal potential of excitation, mV; ``None`` makes it a current ``i_ex``, pA.
        e_in: reversal potential of inhibition, mV; ``None`` makes it a current ``i_in``, pA.
        receptors: more of them, by the names of their inputs.
        scheme: ``"exponential_euler"`` or ``"rk4"``; neither divides the step of the upstroke,
            so that a spike ends within ``dt``. At 0.1 ms ``"rk4"`` has as many spikes as NEST's
            adaptive steps, ``"exponential_euler"`` a few percent fewer at high rates.
        detach_reset: no gradient through the reset; ``w`` keeps its gradient.
        surrogate: the pretended derivative of the spike in ``v - v_peak``.
        dt: step length, ms; 0.1 is usual.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: inputs ``excitatory``, ``inhibitory`` (nS by size, or pA) and ``current`` (pA)
    ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV), ``w`` (pA), ``g_ex``
    and ``g_in`` (nS; ``i_ex`` and ``i_in``, pA) ``[B, ...]``, and ``wait`` (steps) when refractory.

    Raises:
        UserError: an unknown scheme, or a parameter out of its range, named with its value.

    Reference: Brette & Gerstner (2005), whose regular cell is the default, with the peak at
    :math:`V_T + 5 \Delta`; NEST's ``aeif_cond_exp`` and ``aeif_psc_exp``.

    >>> import torch
    >>> zero = torch.zeros(5000, 1, 1)
    >>> x = {"excitatory": zero, "inhibitory": zero, "current": zero + 1000.0}
    >>> times = 0.1 * AdEx()(x).flatten().nonzero().flatten()
    >>> [round(gap) for gap in times.diff().tolist()[:4]]
    [14, 16, 19, 22]
    """

    states = ("v", "w")

    def __init__(
        self,
        c_m: Number = 281.0,
        g_l: Number = 30.0,
        e_l: Number = -70.6,
        v_t: Number = -50.4,
        delta_t: Number = 2.0,
        a: Number = 4.0,
        b: Number = 80.5,
        tau_w: Number = 144.0,
        v_peak: Number = -40.4,
        v_reset: Number = -70.6,
        t_ref: Number = 0.0,
        i_e: Number = 0.0,
        tau_ex: Number = 5.0,
        tau_in: Number = 10.0,
        e_ex: Number | None = 0.0,
        e_in: Number | None = -80.0,
        *,
        receptors: Mapping[str, Receptor] = MappingProxyType({}),
        scheme: Scheme = "exponential_euler",
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        dt: float = 0.1,
        learnable: Collection[str] = (),
    ) -> None:
        both = {"excitatory": Receptor(tau_ex, e_ex), "inhibitory": Receptor(tau_in, e_in)}
        super().__init__(
            {**both, **receptors},
            scheme,
            *(c_m, g_l, e_l, v_t, delta_t, v_peak, v_reset, t_ref, i_e),
            *(detach_reset, surrogate, dt, learnable),
        )
        self.add_parameter("a", a)
        self.add_parameter("b", b)
        self.add_parameter("tau_w", tau_w, Positive())

    def derived(self, p: Named) -> dict[str, Number]:
        """The fraction of ``w`` lost in a step, too."""
        return {**super().derived(p), "k_w": loss(self.dt, p.tau_w)}

    def variables(self, state: Named) -> Named:
        """``v`` and ``w``."""
        return Named(v=state.v, w=state.w)

    def ionic(self, y: Named, p: Named) -> Tensor:
        """The adaptation's current too, pA."""
        return super().ionic(y, p) - y.w

    def slopes(self, y: Named, current: Tensor, p: Named) -> Named:
        """Of ``v`` and ``w``."""
        k = super().slopes(y, current, p)
        return k.replace(w=self._towards(y, p) / p.tau_w)

    def relaxed(self, y: Named, p: Named) -> dict[str, Tensor]:
        """``w`` after a step at this ``v``."""
        return {"w": y.w + self._towards(y, p) * p.k_w}

    def _towards(self, y: Named, p: Named) -> Tensor:
        return (y.v - p.e_l) * p.a - y.w

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        state, s = super().step(state, inputs, p)
        return state.replace(w=state.w + s * p.b), s
