"""Homeostatic scaling of weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from spikesim.network.plasticity.rule import Changes, Plasticity, Trace, not_negative, positive
from spikesim.types import Named


@dataclass(frozen=True)
class HomeostaticScaling(Plasticity):
    r"""Weights grow or shrink by a factor until their receiver fires at a target rate.

    At each spike of the sender :math:`w \leftarrow w + \eta\, w\, (1 - z / z_0)`, where the trace
    :math:`z` of the receiver decays slowly, in :math:`\tau`, and :math:`z_0 = \rho \tau` is its
    mean at the target rate :math:`\rho`. Ratios between weights of equal senders are kept.

    Args:
        w_max, w_min: bounds of the weight.
        eta: relative step.
        rate: target :math:`\rho`, Hz.
        tau: over which the rate is taken, ms.

    Reference: G. G. Turrigiano et al. (1998), Activity-dependent scaling of quantal amplitude in
    neocortical neurons, Nature 391, 892-896; by event as in M. C. W. van Rossum, G. Q. Bi,
    G. G. Turrigiano (2000), J. Neurosci. 20, 8812-8821.
    """

    eta: float = 0.001
    rate: float = 5.0
    tau: float = 1000.0

    def check(self) -> None:
        """Refuse a negative step, and a rate that is not positive."""
        not_negative(eta=self.eta)
        positive(rate=self.rate)

    def post(self) -> Mapping[str, Trace]:
        """The receiver's slow trace ``z``."""
        return {"z": Trace(self.tau)}

    def on_pre(self, s: Named) -> Changes:
        """Scale."""
        target = self.rate * 1e-3 * self.tau
        return {"w": s.w + s.w * (self.eta - s.z * (self.eta / target))}

    def on_post(self, s: Named) -> Changes:
        """The trace alone."""
        return {"z": s.z + 1.0}
