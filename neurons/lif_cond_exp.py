"""The leaky integrate-and-fire neuron with exponential conductances."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from spikesim.neurons.conductance import ConductanceNeuron, Scheme
from spikesim.neurons.receptor import Receptor
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Number


class LIFCondExp(ConductanceNeuron):
    r"""LIF neuron with exponentially decaying synaptic conductances.

    .. math::
        C \dot v = g_L (E_L - v) + \sum_s g_s (E_s - v) + I_e + I, \quad
        \tau_s \dot g_s = -g_s, \quad g_s \leftarrow g_s + |w| \text{ at a spike of weight } w.

    Args:
        c_m: capacitance, pF.
        g_l: leak conductance, nS.
        e_l: resting potential, mV; ``v`` starts there.
        v_threshold: firing threshold, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; the conductances go on.
        i_e: constant current, pA.
        tau_ex: time constant of ``g_ex``, ms.
        tau_in: time constant of ``g_in``, ms.
        e_ex: reversal potential of excitation, mV; ``None`` makes it a current ``i_ex``, pA.
        e_in: reversal potential of inhibition, mV; ``None`` makes it a current ``i_in``, pA.
        receptors: more of them, by the names of their inputs.
        scheme: ``"exponential_euler"``, with the mean conductances of a step, of second order, or
            ``"rk4"``, of fourth.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike in ``v - v_threshold``.
        dt: step length, ms.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape. The
    defaults are those of the COBA network.

    Shape: inputs ``excitatory``, ``inhibitory`` (nS; a negative weight counts by its size) and
    ``current`` (pA) ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV),
    ``g_ex`` and ``g_in`` (nS) ``[B, ...]``, and ``wait`` (steps) when refractory.

    Raises:
        UserError: an unknown scheme, or a parameter out of its range, named with its value.

    Reference: Vogels & Abbott (2005); Brette et al. (2007), benchmark 1; NEST's ``iaf_cond_exp``.

    >>> import torch
    >>> drive = torch.full((200, 1, 1), 10.0)
    >>> x = {"excitatory": drive, "inhibitory": 0.0 * drive, "current": 0.0 * drive}
    >>> int(LIFCondExp()(x).sum())
    33
    """

    def __init__(
        self,
        c_m: Number = 200.0,
        g_l: Number = 10.0,
        e_l: Number = -60.0,
        v_threshold: Number = -50.0,
        v_reset: Number = -60.0,
        t_ref: Number = 5.0,
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
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        both = {"excitatory": Receptor(tau_ex, e_ex), "inhibitory": Receptor(tau_in, e_in)}
        super().__init__(
            {**both, **receptors},
            scheme,
            *(c_m, g_l, e_l, v_threshold, v_reset, t_ref, i_e),
            *(detach_reset, surrogate, dt, learnable),
        )
