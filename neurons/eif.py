"""The exponential integrate-and-fire neuron."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from spikesim.neurons.conductance import Scheme
from spikesim.neurons.exponential import ExponentialNeuron
from spikesim.neurons.receptor import Receptor
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Number


class EIF(ExponentialNeuron):
    r"""Exponential integrate-and-fire neuron with conductances or currents.

    .. math::
        C \dot v = g_L (E_L - v) + g_L \Delta e^{(v - V_T) / \Delta} + \sum_s g_s (E_s - v) + I,
        \quad v \ge v_\mathrm{peak}: \; v \leftarrow v_\mathrm{reset}

    Args:
        c_m: capacitance, pF.
        g_l: leak conductance, nS.
        e_l: reversal potential of the leak, mV; ``v`` starts there.
        v_t: potential :math:`V_T` from which spikes take off, mV.
        delta_t: their sharpness :math:`\Delta`, mV.
        v_peak: where a spike ends, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; the receptors go on.
        i_e: constant current, pA.
        tau_ex: time constant of excitation, ms.
        tau_in: time constant of inhibition, ms.
        e_ex: reversal potential of excitation, mV; ``None`` makes it a current ``i_ex``, pA.
        e_in: reversal potential of inhibition, mV; ``None`` makes it a current ``i_in``, pA.
        receptors: more of them, by the names of their inputs.
        scheme: ``"exponential_euler"`` or ``"rk4"``; neither divides the step of the upstroke,
            so that a spike ends within ``dt``.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike in ``v - v_peak``.
        dt: step length, ms; 0.1 is usual.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: inputs ``excitatory``, ``inhibitory`` (nS by size, or pA) and ``current`` (pA)
    ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV), ``g_ex`` and ``g_in``
    (nS; ``i_ex`` and ``i_in``, pA) ``[B, ...]``, and ``wait`` (steps) when refractory.

    Raises:
        UserError: an unknown scheme, or a parameter out of its range, named with its value.

    Reference: Fourcaud-Trocmé et al. (2003).

    >>> import torch
    >>> zero = torch.zeros(5000, 1, 1)
    >>> x = {"excitatory": zero, "inhibitory": zero, "current": zero + 300.0}
    >>> int(EIF(dt=0.1)(x).sum())
    16
    """

    def __init__(
        self,
        c_m: Number = 250.0,
        g_l: Number = 12.5,
        e_l: Number = -65.0,
        v_t: Number = -50.0,
        delta_t: Number = 2.0,
        v_peak: Number = 0.0,
        v_reset: Number = -65.0,
        t_ref: Number = 2.0,
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
