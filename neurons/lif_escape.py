"""The leaky integrate-and-fire neuron with escape noise."""

from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import NotNegative, Positive
from spikesim.neurons.lif_exp import LIFExp
from spikesim.ops import bernoulli, exp, minimum
from spikesim.types import Named, Number


class LIFEscape(LIFExp):
    r"""LIF neuron with exponential currents that fires at random near a soft threshold.

    .. math::
        P(s_t = 1) = 1 - e^{-\rho \, dt}, \quad
        \rho = \rho_0 \, e^{(v - \theta) / \Delta},

    and else :class:`~spikesim.neurons.lif_exp.LIFExp`. As :math:`\Delta \to 0` the threshold is
    sharp.

    Args:
        rho_0: rate at the threshold, 1/ms.
        delta_u: width :math:`\Delta` of the threshold, mV.
        tau_m: membrane time constant, ms.
        tau_ex: time constant of ``i_ex``, ms.
        tau_in: time constant of ``i_in``, ms; ``None`` for one current of both signs.
        c_m: capacitance, pF.
        e_l: resting potential, mV; ``v`` starts there.
        v_threshold: soft threshold :math:`\theta`, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; the synaptic currents go on.
        i_e: constant current, pA.
        detach_reset: no gradient through the reset.
        dt: step length, ms.
        learnable: names of parameters to train; the gradient of a draw is that of its probability.

    Shape: inputs ``excitatory``, ``inhibitory`` (pA; weights keep their sign) and ``current`` (pA)
    ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV), ``i_ex`` and ``i_in``
    (pA) ``[B, ...]``, and ``wait`` (steps) when refractory; without ``tau_in`` as for its base.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Gerstner et al., *Neuronal Dynamics* (2014), section 9.1; Jolivet et al. (2006).

    >>> import torch
    >>> from spikesim.random import place
    >>> neuron = LIFEscape(i_e=300.0)
    >>> place(neuron, seed=1)
    >>> zero = torch.zeros(1000, 1, 1)
    >>> int(neuron({"excitatory": zero, "inhibitory": zero, "current": zero}).sum())
    12
    """

    stochastic = True

    def __init__(
        self,
        rho_0: Number = 0.1,
        delta_u: Number = 2.0,
        tau_m: Number = 10.0,
        tau_ex: Number = 2.0,
        tau_in: Number | None = 2.0,
        c_m: Number = 250.0,
        e_l: Number = -70.0,
        v_threshold: Number = -55.0,
        v_reset: Number = -70.0,
        t_ref: Number = 2.0,
        i_e: Number = 0.0,
        *,
        detach_reset: bool = False,
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(
            *(tau_m, tau_ex, tau_in, c_m, e_l, v_threshold, v_reset, t_ref, i_e),
            detach_reset=detach_reset,
            dt=dt,
            learnable=learnable,
        )
        self.add_parameter("rho_0", rho_0, NotNegative())
        self.add_parameter("delta_u", delta_u, Positive())

    def fires(self, excess: Tensor, p: Named) -> Tensor:
        """A draw; far above the threshold, where it is certain, the exponential stops growing."""
        rate = p.rho_0 * exp(minimum(excess * (1.0 / p.delta_u), 30.0))
        spikes: Tensor = bernoulli(1.0 - exp(rate * -self.dt))
        return spikes
