"""Hebbian rules that keep weights finite by themselves: Oja's and BCM."""

from collections.abc import Mapping
from dataclasses import dataclass

from spikesim.network.plasticity.rule import Changes, Plasticity, Trace, not_negative, positive
from spikesim.types import Named


@dataclass(frozen=True)
class Oja(Plasticity):
    r"""At each spike of the receiver, :math:`w \leftarrow w + \eta (x - y\, w)`.

    With traces :math:`x, y` of both sides that decay in :math:`\tau`, this is on average Oja's rule
    :math:`\dot w \propto x y - y^2 w` of the rates: weights turn to the first principal component
    of their inputs, with bounded length.

    Args:
        w_max, w_min: bounds of the weight.
        eta: step.
        tau: ms.

    Reference: E. Oja (1982), A simplified neuron model as a principal component analyzer, J. Math.
    Biol. 15, 267-273.
    """

    eta: float = 0.01
    tau: float = 20.0

    def check(self) -> None:
        """Refuse a negative step."""
        not_negative(eta=self.eta)

    def pre(self) -> Mapping[str, Trace]:
        """The sender's trace ``x``."""
        return {"x": Trace(self.tau)}

    def post(self) -> Mapping[str, Trace]:
        """The receiver's trace ``y``."""
        return {"y": Trace(self.tau)}

    def on_pre(self, s: Named) -> Changes:
        """The trace alone."""
        return {"x": s.x + 1.0}

    def on_post(self, s: Named) -> Changes:
        """Growth and decay."""
        return {"w": s.w + self.eta * (s.x - s.y * s.w), "y": s.y + 1.0}


@dataclass(frozen=True)
class BCM(Plasticity):
    r"""At each spike of the receiver, :math:`w \leftarrow w + \eta\, x\, (y - \theta)`.

    :math:`\theta` follows the receiver's squared activity: it decays in :math:`\tau_\theta` and
    jumps by :math:`(\tau / \tau_\theta)\, y / y_0` at each spike, so that on average
    :math:`\theta = \langle y^2 \rangle / y_0` for a trace :math:`y` (:math:`\tau`). Below it
    weights shrink, above it they grow.

    Args:
        w_max, w_min: bounds of the weight.
        eta: step.
        rate: Hz; :math:`y_0 = \tau` times this rate, at which threshold and activity meet.
        tau: of the traces, ms.
        tau_theta: of the threshold, ms.

    Reference: E. L. Bienenstock, L. N. Cooper, P. W. Munro (1982), J. Neurosci. 2, 32-48.
    """

    eta: float = 0.001
    rate: float = 10.0
    tau: float = 50.0
    tau_theta: float = 5000.0

    def check(self) -> None:
        """Refuse a negative step, and a rate that is not positive."""
        not_negative(eta=self.eta)
        positive(rate=self.rate)

    def pre(self) -> Mapping[str, Trace]:
        """The sender's trace ``x``."""
        return {"x": Trace(self.tau)}

    def post(self) -> Mapping[str, Trace]:
        """The receiver's trace ``y`` and threshold ``theta``."""
        return {"y": Trace(self.tau), "theta": Trace(self.tau_theta)}

    def on_pre(self, s: Named) -> Changes:
        """The trace alone."""
        return {"x": s.x + 1.0}

    def on_post(self, s: Named) -> Changes:
        """Growth above the threshold, and its move."""
        share = 1.0 / (self.tau_theta * self.rate * 1e-3)
        return {
            "w": s.w + self.eta * s.x * (s.y - s.theta),
            "y": s.y + 1.0,
            "theta": s.theta + share * s.y,
        }
