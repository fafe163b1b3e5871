"""What the exactly integrated leaky integrate-and-fire neurons share."""

from collections.abc import Collection

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neurons.point import PointNeuron
from spikesim.neurons.propagators import from_constant, loss
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number


class LinearLIF(PointNeuron):
    r"""Base of neurons with :math:`\dot v = (E_L - v) / \tau_m + I / C` below threshold.

    A subclass gives :meth:`charged` what its receptors add, and ends with ``fire``.
    """

    def __init__(
        self,
        tau_m: Number,
        c_m: Number,
        e_l: Number,
        v_threshold: Number,
        v_reset: Number,
        t_ref: Number,
        i_e: Number,
        detach_reset: bool,
        surrogate: Surrogate,
        dt: float,
        learnable: Collection[str],
    ) -> None:
        super().__init__(
            c_m=c_m,
            e_l=e_l,
            v_threshold=v_threshold,
            v_reset=v_reset,
            t_ref=t_ref,
            i_e=i_e,
            detach_reset=detach_reset,
            surrogate=surrogate,
            dt=dt,
            learnable=learnable,
        )
        self.add_parameter("tau_m", tau_m, Positive())

    def derived(self, p: Named) -> dict[str, Number]:
        """The potential without input, the fraction of it gained in a step, and mV per pA."""
        return {
            **super().derived(p),
            "v_inf": p.e_l + p.i_e * p.tau_m / p.c_m,
            "k": loss(self.dt, p.tau_m),
            "v_per_current": from_constant(self.dt, p.tau_m, p.c_m),
        }

    def charged(self, state: Named, inputs: Named, gained: Tensor, p: Named) -> Tensor:
        """``v`` after a step in which receptors give ``gained`` mV.

        All that a step adds is summed first: near -70 mV each addition to ``v`` rounds by up to
        4e-6 mV in float32, and there is one.
        """
        gained = gained + inputs.current * p.v_per_current
        return state.v + ((p.v_inf - state.v) * p.k + gained)
