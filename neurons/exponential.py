"""What neurons with an exponential upstroke share."""

from collections.abc import Collection, Mapping

from torch import Tensor

from spikesim.constraint import Positive
from spikesim.neurons.conductance import ConductanceNeuron, Scheme
from spikesim.neurons.receptor import Receptor
from spikesim.ops import exp, minimum
from spikesim.surrogate import Surrogate
from spikesim.types import Named, Number


class ExponentialNeuron(ConductanceNeuron):
    r"""Base of neurons with the current :math:`g_L \Delta e^{(v - V_T) / \Delta}` of a spike."""

    threshold_name = "v_peak"

    def __init__(
        self,
        receptors: Mapping[str, Receptor],
        scheme: Scheme,
        c_m: Number,
        g_l: Number,
        e_l: Number,
        v_t: Number,
        delta_t: Number,
        v_peak: Number,
        v_reset: Number,
        t_ref: Number,
        i_e: Number,
        detach_reset: bool,
        surrogate: Surrogate,
        dt: float,
        learnable: Collection[str],
    ) -> None:
        super().__init__(
            receptors,
            scheme,
            *(c_m, g_l, e_l, v_peak, v_reset, t_ref, i_e),
            *(detach_reset, surrogate, dt, learnable),
        )
        self.add_parameter("v_t", v_t)
        self.add_parameter("delta_t", delta_t, Positive())

    def ionic(self, y: Named, p: Named) -> Tensor:
        """The leak's and the spike's own current, pA."""
        spike: Tensor = exp((y.v - p.v_t) * (1.0 / p.delta_t)) * (p.g_l * p.delta_t)
        return super().ionic(y, p) + spike

    def bounded(self, y: Named, p: Named) -> Named:
        """What overshoots the peak within a step is taken for it: its exponential may overflow."""
        return y.replace(v=minimum(y.v, p.v_peak))
