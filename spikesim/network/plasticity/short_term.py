"""Short-term plasticity: synapses that tire and recover."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikesim.errors import UserError
from spikesim.network.plasticity.rule import Changes, Plasticity, Trace
from spikesim.types import Named


@dataclass(frozen=True)
class TsodyksMarkram(Plasticity):
    r"""A spike uses a part :math:`u` of the resources :math:`R`, and sends :math:`w\, u\, R`.

    .. math::
        u \leftarrow u + U (1 - u), \qquad \text{sent} = w\, u\, R, \qquad R \leftarrow R (1 - u)

    Between spikes :math:`R` recovers to 1 in :math:`\tau_{rec}`, and :math:`u` falls to 0 in
    :math:`\tau_{fac}`; without facilitation :math:`u = U`. Weights stay as they are; all synapses
    of a sender share :math:`u` and :math:`R`, which begin at 0 and 1.

    Args:
        u0: :math:`U`, above 0 and up to 1.
        tau_rec: ms.
        tau_fac: ms; 0: no facilitation.

    Reference: M. Tsodyks, A. Uziel, H. Markram (2000), Synchrony generation in recurrent networks
    with frequency-dependent synapses, J. Neurosci. 20, RC50.
    """

    w_max: float = field(default=np.inf, kw_only=True)
    u0: float = 0.5
    tau_rec: float = 800.0
    tau_fac: float = 0.0

    def check(self) -> None:
        """Refuse a part that is none."""
        if not 0 < self.u0 <= 1:
            raise UserError(f"u0 must be above 0 and up to 1, got {self.u0}")
        if self.tau_fac < 0:
            raise UserError(f"tau_fac must be >= 0 ms, got {self.tau_fac}")

    def pre(self) -> Mapping[str, Trace]:
        """Resources ``r``, and the part ``u`` of them where it facilitates."""
        resources = {"r": Trace(self.tau_rec, rest=1.0)}
        return resources | ({"u": Trace(self.tau_fac)} if self.tau_fac > 0 else {})

    def on_pre(self, s: Named) -> Changes:
        """Send and tire."""
        if self.tau_fac == 0:
            return {"sent": s.w * (s.r * self.u0), "r": s.r * (1.0 - self.u0)}
        u = s.u + self.u0 * (1.0 - s.u)
        return {"sent": s.w * (u * s.r), "r": s.r * (1.0 - u), "u": u}
