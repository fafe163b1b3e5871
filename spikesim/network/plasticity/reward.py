"""Three factors: spikes of both sides leave an eligibility, which a modulator turns into weight."""

from collections.abc import Mapping
from dataclasses import dataclass

from spikesim.network.plasticity.rule import Changes, Plasticity, Trace, not_negative
from spikesim.types import Named


@dataclass(frozen=True)
class RewardSTDP(Plasticity):
    r"""Reward-modulated STDP: what pairs of spikes would change becomes an eligibility :math:`e`.

    .. math::
        \frac{de}{dt} = -\frac{e}{\tau_e} + \mathrm{STDP}, \qquad \frac{dw}{dt} = M(t)\, e

    where a receiver's spike adds :math:`A_+ x` to :math:`e`, and a sender's takes off
    :math:`A_- y`. With a modulator that decays in 200 ms and jumps at rewards, this is the dopamine
    model of Izhikevich. Bounds are applied whenever a spike comes, and when weights are read.

    Args:
        w_max, w_min: bounds of the weight.
        a_plus, a_minus: :math:`A_+, A_-`, in weight per ms and unit of the modulator.
        tau_plus, tau_minus: of the traces, ms.
        tau_e: of the eligibility, ms.

    Reference: E. M. Izhikevich (2007), Solving the distal reward problem through linkage of STDP
    and dopamine signaling, Cereb. Cortex 17, 2443-2452.
    """

    a_plus: float = 0.1
    a_minus: float = 0.105
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    tau_e: float = 1000.0

    def check(self) -> None:
        """Refuse negative steps."""
        not_negative(a_plus=self.a_plus, a_minus=self.a_minus)

    def pre(self) -> Mapping[str, Trace]:
        """The sender's trace ``x``."""
        return {"x": Trace(self.tau_plus)}

    def post(self) -> Mapping[str, Trace]:
        """The receiver's trace ``y``."""
        return {"y": Trace(self.tau_minus)}

    def eligibility(self) -> float:
        """``tau_e``."""
        return self.tau_e

    def on_pre(self, s: Named) -> Changes:
        """Sender after receiver."""
        return {"e": s.e - self.a_minus * s.y, "x": s.x + 1.0}

    def on_post(self, s: Named) -> Changes:
        """Receiver after sender."""
        return {"e": s.e + self.a_plus * s.x, "y": s.y + 1.0}
