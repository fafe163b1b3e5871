"""The leaky integrate-and-fire neuron with exponential currents."""

from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neurons.linear_lif import LinearLIF
from spikesim.neurons.propagators import decay, from_exponential
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class LIFExp(LinearLIF):
    r"""LIF neuron with exponentially decaying synaptic currents, integrated exactly.

    .. math::
        C \dot v = \frac{C}{\tau_m} (E_L - v) + i_\mathrm{ex} + i_\mathrm{in} + I_e + I, \quad
        \tau_s \dot i_s = -i_s, \quad i_s \leftarrow i_s + w \text{ at a spike of weight } w.

    Args:
        tau_m: membrane time constant, ms.
        tau_ex: time constant of ``i_ex``, ms; may equal ``tau_m``.
        tau_in: time constant of ``i_in``, ms; ``None`` where it is that of ``i_ex``: weights of
            both signs then add to one current ``i_syn``, which takes less memory and time.
        c_m: capacitance, pF.
        e_l: resting potential, mV; ``v`` starts there.
        v_threshold: firing threshold, mV.
        v_reset: potential after a spike, mV.
        t_ref: refractory period, ms; the synaptic currents go on.
        i_e: constant current, pA.
        detach_reset: no gradient through the reset.
        surrogate: the pretended derivative of the spike in ``v - v_threshold``.
        dt: step length, ms.
        learnable: names of parameters to train.

    Each parameter is one number, ``[C]`` per channel, or an array of one step's neuron shape.

    Shape: inputs ``excitatory``, ``inhibitory`` (pA; weights keep their sign) and ``current`` (pA)
    ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV), ``i_ex`` and ``i_in``
    (pA) ``[B, ...]``, and ``wait`` (steps) when refractory. Without ``tau_in``: inputs ``synaptic``
    and ``current``, states ``v`` and ``i_syn``.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Rotter & Diesmann (1999); NEST's ``iaf_psc_exp``.

    >>> import torch
    >>> zero = torch.zeros(3, 1, 1, dtype=torch.float64)
    >>> x = {"excitatory": zero.clone(), "inhibitory": zero, "current": zero}
    >>> x["excitatory"][0] = 250.0
    >>> v = LIFExp(tau_m=2.0, tau_ex=2.0, e_l=0.0, v_threshold=15.0, v_reset=0.0).trace(x)["v"]
    >>> [round(value, 4) for value in v.flatten().tolist()]  # t * exp(-t / 2)
    [0.0, 0.6065, 0.7358]
    """

    inputs: tuple[str, ...] = ("excitatory", "inhibitory", "current")
    states: tuple[str, ...] = ("v", "i_ex", "i_in")

    def __init__(
        self,
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
        surrogate: Surrogate = ATan(),
        dt: float = 1.0,
        learnable: Collection[str] = (),
    ) -> None:
        super().__init__(
            *(tau_m, c_m, e_l, v_threshold, v_reset, t_ref, i_e),
            *(detach_reset, surrogate, dt, learnable),
        )
        self.add_parameter("tau_ex", tau_ex, Positive())
        self.add_parameter("tau_in", tau_in, Positive())
        self._is_one = tau_in is None
        if self._is_one:
            self.inputs = ("synaptic", "current")
            self.states = ("v", "i_syn", *self.states[3:])

    def derived(self, p: Named) -> dict[str, Number]:
        """What a step leaves of the currents, and the mV that each pA gives."""
        numbers = super().derived(p)
        for short in ("ex",) if self._is_one else ("ex", "in"):
            tau = p[f"tau_{short}"]
            numbers[f"left_{short}"] = decay(self.dt, tau)
            numbers[f"v_per_{short}"] = from_exponential(self.dt, p.tau_m, tau, p.c_m)
        return numbers

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        if self._is_one:
            v = self.charged(state, inputs, state.i_syn * p.v_per_ex, p)
            i_syn = state.i_syn * p.left_ex + inputs.synaptic
            return self.fire(state.replace(i_syn=i_syn), v, p)
        gained = state.i_ex * p.v_per_ex + state.i_in * p.v_per_in
        v = self.charged(state, inputs, gained, p)
        i_ex = state.i_ex * p.left_ex + inputs.excitatory
        i_in = state.i_in * p.left_in + inputs.inhibitory
        return self.fire(state.replace(i_ex=i_ex, i_in=i_in), v, p)
