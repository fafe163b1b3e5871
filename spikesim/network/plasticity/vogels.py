"""Inhibitory plasticity that holds rates."""

from collections.abc import Mapping
from dataclasses import dataclass

from spikesim.network.plasticity.rule import Changes, Plasticity, Trace, not_negative
from spikesim.types import Named


@dataclass(frozen=True)
class VogelsSTDP(Plasticity):
    r"""Inhibitory synapses that bring their receivers to a target rate.

    .. math::
        \text{sender's spike:}\quad w \leftarrow w + \eta (y - 2 \rho \tau), \qquad
        \text{receiver's spike:}\quad w \leftarrow w + \eta\, x

    Traces :math:`x, y` of both sides decay with :math:`\tau`. ``w`` is the size of the weight.

    Args:
        w_max, w_min: bounds of the size.
        eta: step, in the unit of the weight.
        rate: target :math:`\rho` of the receivers, Hz.
        tau: ms.

    Reference: T. P. Vogels et al. (2011), Inhibitory plasticity balances excitation and inhibition
    in sensory pathways and memory networks, Science 334, 1569-1573.
    """

    eta: float = 0.01
    rate: float = 5.0
    tau: float = 20.0

    def check(self) -> None:
        """Refuse negative numbers."""
        not_negative(eta=self.eta, rate=self.rate)

    def pre(self) -> Mapping[str, Trace]:
        """The sender's trace ``x``."""
        return {"x": Trace(self.tau)}

    def post(self) -> Mapping[str, Trace]:
        """The receiver's trace ``y``."""
        return {"y": Trace(self.tau)}

    def on_pre(self, s: Named) -> Changes:
        """Stronger where the receiver fires above its rate."""
        alpha = 2.0 * self.rate * 1e-3 * self.tau
        return {"w": s.w + self.eta * (s.y - alpha), "x": s.x + 1.0}

    def on_post(self, s: Named) -> Changes:
        """Stronger where both fire."""
        return {"w": s.w + self.eta * s.x, "y": s.y + 1.0}
