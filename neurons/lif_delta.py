"""The leaky integrate-and-fire neuron whose potential jumps at a spike."""

from collections.abc import Collection

from torch import Tensor

from spikesim.neurons.linear_lif import LinearLIF
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class LIFDelta(LinearLIF):
    r"""LIF neuron with delta synapses, integrated exactly.

    .. math::
        \tau_m \dot v = E_L - v + \frac{\tau_m}{C} (I_e + I), \quad
        v \leftarrow v + w \text{ at a spike of weight } w.

    Args:
        tau_m: membrane time constant, ms.
        c_m: capacitance, pF.
        e_l: resting potential, mV; ``v`` starts there.
        v_threshold: firing threshold, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; what arrives in it is lost.
        i_e: constant current, pA.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike in ``v - v_threshold``.
        dt: step length, ms.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: inputs ``delta`` (mV; weights keep their sign) and ``current`` (pA) ``[T, B, ...]`` ->
    spikes ``[T, B, ...]``, each 0 or 1; state ``v`` (mV) ``[B, ...]``, and ``wait`` (steps) when
    refractory.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Rotter & Diesmann (1999); NEST's ``iaf_psc_delta``.

    >>> import torch
    >>> jumps = torch.zeros(4, 1, 1)
    >>> jumps[0] = 16.0
    >>> neuron = LIFDelta(t_ref=2.0)
    >>> neuron({"delta": jumps, "current": torch.zeros(4, 1, 1)}).flatten().tolist()
    [1.0, 0.0, 0.0, 0.0]
    """

    inputs = ("delta", "current")

    def __init__(
        self,
        tau_m: Number = 10.0,
        c_m: Number = 250.0,
        e_l: Number = -70.0,
        v_threshold: Number = -55.0,
        v_reset: Number = -70.0,
        t_ref: Number = 2.0,
        i_e: Number = 0.0,
        *,
        detach_reset: bool = False,
        surrogate: Surrogate = ATan(),
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(
            *(tau_m, c_m, e_l, v_threshold, v_reset, t_ref, i_e),
            *(detach_reset, surrogate, dt, learnable),
        )

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        return self.fire(state, self.charged(state, inputs, inputs.delta, p), p)
