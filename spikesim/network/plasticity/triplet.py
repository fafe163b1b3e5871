"""Plasticity of triplets of spikes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spikesim.errors import UserError
from spikesim.network.plasticity.rule import Changes, Plasticity, Trace, not_negative
from spikesim.types import Named


@dataclass(frozen=True)
class TripletSTDP(Plasticity):
    r"""Weights change with pairs and with triplets of spikes, and so with their frequency.

    .. math::
        \text{sender's spike:}\quad w &\leftarrow w - w_{max}\, o_1 (A_2^- + A_3^- r_2) \\
        \text{receiver's spike:}\quad w &\leftarrow w + w_{max}\, r_1 (A_2^+ + A_3^+ o_2)

    with traces :math:`r_1, r_2` of the sender (:math:`\tau_+, \tau_x`) and :math:`o_1, o_2` of the
    receiver (:math:`\tau_-, \tau_y`), each as it is just before the spike. The defaults are those
    of visual cortex, all-to-all (table 4).

    Args:
        w_max, w_min: bounds of the weight.
        a2_plus, a3_plus, a2_minus, a3_minus: amplitudes, relative to ``w_max``.
        tau_plus, tau_x, tau_minus, tau_y: ms.
        pairs: ``"all"``: traces grow by 1 at a spike; ``"nearest"``: they are set to 1.

    Reference: J.-P. Pfister, W. Gerstner (2006), Triplets of spikes in a model of spike
    timing-dependent plasticity, J. Neurosci. 26, 9673-9682.
    """

    a2_plus: float = 5e-10
    a3_plus: float = 6.2e-3
    a2_minus: float = 7e-3
    a3_minus: float = 2.3e-4
    tau_plus: float = 16.8
    tau_x: float = 101.0
    tau_minus: float = 33.7
    tau_y: float = 125.0
    pairs: Literal["all", "nearest"] = "all"

    def check(self) -> None:
        """Refuse negative amplitudes."""
        not_negative(a2_plus=self.a2_plus, a3_plus=self.a3_plus)
        not_negative(a2_minus=self.a2_minus, a3_minus=self.a3_minus)
        if self.pairs not in ("all", "nearest"):
            raise UserError(f"pairs must be 'all' or 'nearest', got {self.pairs!r}")

    def pre(self) -> Mapping[str, Trace]:
        """The sender's ``r1`` and ``r2``."""
        return {"r1": Trace(self.tau_plus), "r2": Trace(self.tau_x)}

    def post(self) -> Mapping[str, Trace]:
        """The receiver's ``o1`` and ``o2``."""
        return {"o1": Trace(self.tau_minus), "o2": Trace(self.tau_y)}

    def on_pre(self, s: Named) -> Changes:
        """Depression."""
        size = self.w_max * self.a2_minus + self.w_max * self.a3_minus * s.r2
        one = 0.0 if self.pairs == "nearest" else 1.0
        return {"w": s.w - s.o1 * size, "r1": s.r1 * one + 1.0, "r2": s.r2 * one + 1.0}

    def on_post(self, s: Named) -> Changes:
        """Potentiation."""
        size = self.w_max * self.a2_plus + self.w_max * self.a3_plus * s.o2
        one = 0.0 if self.pairs == "nearest" else 1.0
        return {"w": s.w + s.r1 * size, "o1": s.o1 * one + 1.0, "o2": s.o2 * one + 1.0}
