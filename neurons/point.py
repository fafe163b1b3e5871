"""What point neurons in physical units share: capacitance, rest, threshold and refractoriness."""

from collections.abc import Collection

from spikesim.constraint import Positive
from spikesim.neurons.membrane import Membrane
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number


class PointNeuron(Membrane):
    r"""Base of neurons whose ``v`` is a membrane potential, mV, with times in ms.

    A step spans ``dt``. Currents of its input ``current`` (pA) are constant over it; what arrives
    at a receptor acts from its end on, where a spike of the step is sent. After a spike ``v`` stays
    at ``v_reset`` for ``round(t_ref / dt)`` steps, while synaptic currents go on: NEST's order.
    NEST takes a ``t_ref`` between two steps as the longer.

    In float32 a potential near -70 mV is a multiple of 8e-6 mV. A step that would move it by less
    than half of that leaves it: with ``tau_m`` of 10 ms and steps of 0.1 ms, 4e-4 mV from rest;
    half that much for twice the step or half the time constant. Potentials counted from rest
    (``e_l = 0``) keep 1e-6 mV in float32 too.
    """

    refractory_name = "t_ref"

    def __init__(
        self,
        *,
        c_m: Number,
        e_l: Number,
        v_threshold: Number,
        v_reset: Number | None,
        t_ref: Number,
        i_e: Number,
        detach_reset: bool,
        surrogate: Surrogate,
        dt: float,
        learnable: Collection[str],
    ) -> None:
        super().__init__(v_threshold, v_reset, detach_reset, surrogate, t_ref, dt, learnable)
        self.add_parameter("c_m", c_m, Positive())
        self.add_parameter("e_l", e_l)
        self.add_parameter("i_e", i_e)

    def initial(self, p: Named) -> dict[str, Number]:
        """At the leak's reversal potential, no current, ready to fire."""
        return {**dict.fromkeys(self.states, 0.0), "v": p.e_l}
