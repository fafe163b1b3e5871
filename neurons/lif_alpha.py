"""The leaky integrate-and-fire neuron with alpha-shaped currents."""

import math
from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neurons.linear_lif import LinearLIF
from spikesim.neurons.propagators import decay, from_alpha, from_exponential
from spikesim.surrogate import ATan, Surrogate
from spikesim.types import Named, Number


class LIFAlpha(LinearLIF):
    r"""LIF neuron with alpha-shaped synaptic currents, integrated exactly.

    .. math::
        C \dot v = \frac{C}{\tau_m} (E_L - v) + i_\mathrm{ex} + i_\mathrm{in} + I_e + I, \quad
        \dot i_s = j_s - \frac{i_s}{\tau_s}, \quad \dot j_s = -\frac{j_s}{\tau_s}, \quad
        j_s \leftarrow j_s + \frac{e}{\tau_s} w \text{ at a spike of weight } w:

    the current :math:`w \frac{t}{\tau_s} e^{1 - t/\tau_s}`, which peaks at ``w`` after
    :math:`\tau_s`.

    Args:
        tau_m: membrane time constant, ms.
        tau_ex: rise time of ``i_ex``, ms; may equal ``tau_m``.
        tau_in: rise time of ``i_in``, ms.
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
    ``[T, B, ...]`` -> spikes ``[T, B, ...]``, each 0 or 1; states ``v`` (mV), ``i_ex``, ``i_in``
    (pA), ``j_ex`` and ``j_in`` (pA/ms) ``[B, ...]``, and ``wait`` (steps) when refractory.

    Raises:
        UserError: a parameter out of its range, named with its value.

    Reference: Rotter & Diesmann (1999); NEST's ``iaf_psc_alpha``.

    >>> import torch
    >>> zero = torch.zeros(3, 1, 1, dtype=torch.float64)
    >>> x = {"excitatory": zero.clone(), "inhibitory": zero, "current": zero}
    >>> x["excitatory"][0] = 100.0
    >>> i = LIFAlpha(tau_ex=2.0).trace(x)["i_ex"]
    >>> [round(value, 3) for value in i.flatten().tolist()]
    [0.0, 82.436, 100.0]
    """

    inputs = ("excitatory", "inhibitory", "current")
    states = ("v", "i_ex", "i_in", "j_ex", "j_in")

    def __init__(
        self,
        tau_m: Number = 10.0,
        tau_ex: Number = 2.0,
        tau_in: Number = 2.0,
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

    def derived(self, p: Named) -> dict[str, Number]:
        """What a step leaves of the currents, the mV that they give, and their rise at a spike."""
        numbers = super().derived(p)
        for which, tau in (("ex", p.tau_ex), ("in", p.tau_in)):
            numbers[f"left_{which}"] = decay(self.dt, tau)
            numbers[f"rise_{which}"] = math.e / tau
            numbers[f"v_per_{which}"] = from_exponential(self.dt, p.tau_m, tau, p.c_m)
            numbers[f"v_per_j_{which}"] = from_alpha(self.dt, p.tau_m, tau, p.c_m)
        return numbers

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        """One step; see the class."""
        excitation = state.i_ex * p.v_per_ex + state.j_ex * p.v_per_j_ex
        inhibition = state.i_in * p.v_per_in + state.j_in * p.v_per_j_in
        v = self.charged(state, inputs, excitation + inhibition, p)
        state = state.replace(
            i_ex=(state.i_ex + state.j_ex * self.dt) * p.left_ex,
            i_in=(state.i_in + state.j_in * self.dt) * p.left_in,
            j_ex=state.j_ex * p.left_ex + inputs.excitatory * p.rise_ex,
            j_in=state.j_in * p.left_in + inputs.inhibitory * p.rise_in,
        )
        return self.fire(state, v, p)
