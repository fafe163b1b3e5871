"""The leaky integrate-and-fire neuron with conductances and an adaptive threshold."""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neurons.conductance import ConductanceNeuron, Scheme
from spikesim.neurons.propagators import decay
from spikesim.neurons.receptor import Receptor
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class ALIFCondExp(ConductanceNeuron):
    r"""LIF neuron with exponential conductances whose threshold rises with its own spikes.

    Membrane and conductances are those of :class:`~spikesim.neurons.LIFCondExp`; it fires at

    .. math::
        v \ge v_\mathrm{threshold} + \theta, \quad \tau_\theta \dot \theta = -\theta, \quad
        \theta \leftarrow \theta + \theta_+ \text{ at its spikes.}

    So neurons that compete for the same inputs take turns, if :math:`\tau_\theta` is long.

    Args:
        c_m: capacitance, pF.
        g_l: leak conductance, nS.
        e_l: resting potential, mV; ``v`` starts there.
        v_threshold: firing threshold while :math:`\theta` is 0, as it is at first, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; the conductances and :math:`\theta` go on.
        i_e: constant current, pA.
        tau_ex: time constant of ``g_ex``, ms.
        tau_in: time constant of ``g_in``, ms.
        e_ex: reversal potential of excitation, mV; ``None`` makes it a current ``i_ex``, pA.
        e_in: reversal potential of inhibition, mV; ``None`` makes it a current ``i_in``, pA.
        theta_plus: rise of the threshold at a spike, :math:`\theta_+`, mV.
        tau_theta: time constant of :math:`\theta`, ms. Beyond :math:`10^6` steps it needs float64:
            the loss of a step is below the last digit of float32.
        receptors: more of them, by the names of their inputs.
        scheme: ``"exponential_euler"``, with the mean conductances of a step, of second order, or
            ``"rk4"``, of fourth.
        detach_reset: no gradient through the reset; the threshold keeps its gradient.
        surrogate: the pretended derivative of the spike in ``v - v_threshold - theta``.
        dt: step length, ms.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape. The
    defaults are those of the excitatory neurons of Diehl and Cook, whose threshold began at -52 mV:
    with ``theta`` at 20 mV.

    Shape: inputs ``excitatory``, ``inhibitory`` (nS; a negative weight counts by its size) and
    ``current`` (pA) ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV),
    ``theta`` (mV), ``g_ex`` and ``g_in`` (nS) ``[B, ...]``, and ``wait`` (steps) when refractory.

    Raises:
        UserError: an unknown scheme, or a parameter out of its range, named with its value.

    Reference: P. U. Diehl, M. Cook (2015), Front. Comput. Neurosci. 9:99, section 2.1.

    >>> import torch
    >>> zero = torch.zeros(600, 1, 1)
    >>> x = {"excitatory": zero, "inhibitory": zero, "current": zero + 20.0}
    >>> neuron = ALIFCondExp(v_threshold=-60.0, theta_plus=2.0, tau_theta=500.0)
    >>> neuron(x).flatten().nonzero().flatten().diff().tolist()[:4]
    [94, 119, 143, 163]
    """

    states = ("v", "theta")

    def __init__(
        self,
        c_m: Number = 100.0,
        g_l: Number = 1.0,
        e_l: Number = -65.0,
        v_threshold: Number = -72.0,
        v_reset: Number = -65.0,
        t_ref: Number = 5.0,
        i_e: Number = 0.0,
        tau_ex: Number = 1.0,
        tau_in: Number = 2.0,
        e_ex: Number | None = 0.0,
        e_in: Number | None = -100.0,
        theta_plus: Number = 0.05,
        tau_theta: Number = 1e7,
        *,
        receptors: Mapping[str, Receptor] = MappingProxyType({}),
        scheme: Scheme = "exponential_euler",
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        dt: float = 0.5,
        learnable: Collection[str] = (),
    ) -> None:
        both = {"excitatory": Receptor(tau_ex, e_ex), "inhibitory": Receptor(tau_in, e_in)}
        super().__init__(
            {**both, **receptors},
            scheme,
            *(c_m, g_l, e_l, v_threshold, v_reset, t_ref, i_e),
            *(detach_reset, surrogate, dt, learnable),
        )
        self.add_parameter("theta_plus", theta_plus)
        self.add_parameter("tau_theta", tau_theta, Positive())

    def derived(self, p: Named) -> dict[str, Number]:
        """What a step leaves of the threshold's rise, too."""
        return {**super().derived(p), "left_theta": decay(self.dt, p.tau_theta)}

    def emit(self, state: Named, excess: Tensor, p: Named) -> tuple[Named, Tensor]:
        """Fire above the risen threshold, which then rises."""
        state, s = super().emit(state, excess - state.theta, p)
        return state.replace(theta=state.theta * p.left_theta + s * p.theta_plus), s
