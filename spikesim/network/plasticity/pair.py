"""Spike-timing-dependent plasticity of pairs of spikes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spikesim.errors import UserError
from spikesim.network.plasticity.rule import Changes, Plasticity, Trace, not_negative
from spikesim.ops import exp, log, maximum
from spikesim.types import Named


@dataclass(frozen=True)
class PairSTDP(Plasticity):
    r"""Each pair of a sender's and a receiver's spike changes the weight by its times.

    .. math::
        \text{receiver's spike:}\quad w &\leftarrow w + \lambda\, (1 - w / w_{max})^{\mu_+}\,
            w_{max}\, x \\
        \text{sender's spike:}\quad w &\leftarrow w - \alpha \lambda\, (w / w_{max})^{\mu_-}\,
            w_{max}\, y

    with traces :math:`x` of the sender (:math:`\tau_+`) and :math:`y` of the receiver
    (:math:`\tau_-`). Additive for :math:`\mu` = 0, multiplicative for 1, of any power between.
    Pairs: ``"all"``: traces grow by 1 at each spike; ``"nearest"``: they are set to 1, so that each
    spike pairs with the nearest one before it (nearest-neighbour symmetric).

    Args:
        w_max, w_min: bounds of the weight; ``w_min`` must be 0 where a power is not.
        rate: step :math:`\lambda` of potentiation, relative to ``w_max``.
        alpha: depression over potentiation.
        tau_plus, tau_minus: ms.
        mu_plus, mu_minus: powers, >= 0.
        pairs: ``"all"`` or ``"nearest"``.

    This is NEST's ``stdp_synapse`` (``lambda`` is ``rate``); there traces of all spikes are used.

    Reference: A. Morrison, M. Diesmann, W. Gerstner (2008), Biol. Cybern. 98, 459-478; R. Guetig
    et al. (2003), J. Neurosci. 23, 3697-3714.

    >>> rule = PairSTDP(w_max=2.0, mu_plus=0.0, mu_minus=0.0)
    >>> rule.on_post(Named(w=1.0, x=0.5, y=0.0))["w"]
    1.01
    """

    rate: float = 0.01
    alpha: float = 1.0
    tau_plus: float = 20.0
    tau_minus: float = 20.0
    mu_plus: float = 1.0
    mu_minus: float = 1.0
    pairs: Literal["all", "nearest"] = "all"

    def check(self) -> None:
        """Refuse powers and steps that are negative."""
        not_negative(rate=self.rate, alpha=self.alpha, mu_plus=self.mu_plus, mu_minus=self.mu_minus)
        if self.pairs not in ("all", "nearest"):
            raise UserError(f"pairs must be 'all' or 'nearest', got {self.pairs!r}")
        if self.w_min < 0 and (self.mu_plus or self.mu_minus):
            raise UserError(f"w_min must be >= 0 with powers of the weight, got {self.w_min}")

    def pre(self) -> Mapping[str, Trace]:
        """The sender's trace ``x``."""
        return {"x": Trace(self.tau_plus)}

    def post(self) -> Mapping[str, Trace]:
        """The receiver's trace ``y``."""
        return {"y": Trace(self.tau_minus)}

    def on_pre(self, s: Named) -> Changes:
        """Depression."""
        step = self.alpha * self.rate
        w = s.w - power(s.w, self.w_max, self.mu_minus, step) * s.y
        return {"w": w, "x": self._grown(s.x)}

    def on_post(self, s: Named) -> Changes:
        """Potentiation."""
        w = s.w + power(self.w_max - s.w, self.w_max, self.mu_plus, self.rate) * s.x
        return {"w": w, "y": self._grown(s.y)}

    def _grown(self, trace: Any) -> Any:
        return trace + 1.0 if self.pairs == "all" else 1.0


def power(size: Any, w_max: float, mu: float, step: float) -> Any:
    """``step * w_max * (size / w_max) ** mu``, with less to compute where the power is 0 or 1."""
    if mu == 0.0:
        return step * w_max
    if mu == 1.0:
        return size * step
    part = exp(log(maximum(size, 0.0) * (1.0 / w_max)) * mu)
    return part * (step * w_max)
