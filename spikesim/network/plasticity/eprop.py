"""e-prop: gradients of recurrent spiking networks, by eligibilities and learning signals."""

from dataclasses import dataclass, field

from spikesim.errors import UserError
from spikesim.network.plasticity.rule import Changes, Plasticity, not_negative
from spikesim.surrogate import Surrogate
from spikesim.types import Named

UNFILTERED = 1e-9
"""A time constant, ms, of which a step leaves nothing."""


@dataclass(frozen=True)
class EProp(Plasticity):
    r"""e-prop: in each step weights follow learning signal times filtered eligibility.

    .. math::
        \Delta w_{ji}(t) = -\eta\, L_j(t)\, \bar e_{ji}(t), \qquad
        \bar e_{ji}(t) = \kappa\, \bar e_{ji}(t - 1) + e_{ji}(t), \qquad \kappa = e^{-dt / \tau_e}

    :math:`e_{ji}(t)` is the derivative of the receiver's spike by the weight, through the
    receiver's own past alone: with the trace
    :math:`\bar z_i(t) = \alpha\, \bar z_i(t - 1) + g\, z_i(t - d)` of the sender's spikes and the
    pretended derivative :math:`\psi_j` of the receiver's,

    .. math::
        \text{LIF:}\quad e_{ji}(t) &= \psi_j(t)\, \bar z_i(t) \\
        \text{ALIF:}\quad e_{ji}(t) &= \psi_j(t) (\bar z_i(t) - \beta\, \epsilon_{ji}(t)), \quad
            \epsilon_{ji}(t + 1) = \rho\, \epsilon_{ji}(t) + g_a\, e_{ji}(t)

    :math:`\alpha, g, \rho, \beta, g_a` are those of the receiving model. A hard reset, after which
    the past no longer counts, empties :math:`\bar z` of this receiver, as do the steps in which it
    is refractory; resets are taken as detached. With exponential currents :math:`z` passes their
    decay first. Receivers are ``LIF``, ``ALIF``, ``LIFDelta``, ``LIFExp``, ``CUBALIF``, and the
    readout ``LI`` (:math:`\psi = 1`); others are refused.

    :math:`L_j` is the modulator of the projection, commonly one with a value for each receiver: the
    error of the readout, brought back by fixed weights,
    ``net.modulator(lambda ms: B @ (out.state["v"] - target(ms)), post=cells)``.

    A spike of step ``n`` is sent with the changes of the steps up to ``n - d``, ``d`` being the
    shortest delay of the projection; with ``every``, with those up to the last whole multiple of it
    in that time. Weights are read likewise: as a spike of the next step would find them. They are
    kept within their bounds after each change.

    Nothing is done in a step but to keep :math:`\psi_j` and :math:`L_j` of each receiver. When a
    sender spikes, its synapses go through the steps since its last spike, one after the other; so
    do all after some hundred steps. The work is that of all synapses in all steps, but for those
    whose senders have long been silent: after 42 of the time constants passed through, taken
    together, what is left of a spike is below 2**-60 and dropped.

    Args:
        w_max, w_min: bounds of the weight.
        eta: learning rate :math:`\eta`, in weight per unit of the signal and of the eligibility.
        tau_e: time constant of the filter, ms, that of the readout; 0: none.
        surrogate: the derivative of the spike in the membrane above its threshold; by default that
            of the receiving model.
        damping: :math:`\psi` is this times the surrogate.
        every: ms between updates; in between changes are summed. By default each step.
        rate: target of the receivers' rates, Hz; ``None``: none.
        c_rate: what is added to :math:`L_j` for each Hz by which a receiver's rate is above it.
        tau_rate: over which rates are taken, ms.

    With ``Triangle(v_threshold)`` and ``damping=0.3`` this is the published :math:`\psi`. NEST's
    ``eprop_synapse`` updates as by default here, its ``eprop_synapse_bsshslm_2020`` as with
    ``every`` (there traces begin anew with each interval).

    Reference: G. Bellec et al. (2020), A solution to the learning dilemma for recurrent networks of
    spiking neurons, Nat. Commun. 11, 3625.

    >>> rule = EProp(w_max=1.0, w_min=-1.0, eta=1e-3, tau_e=20.0)
    """

    eta: float = 1e-3
    tau_e: float = 20.0
    surrogate: Surrogate | None = field(default=None, kw_only=True)
    damping: float = field(default=1.0, kw_only=True)
    every: float | None = field(default=None, kw_only=True)
    rate: float | None = field(default=None, kw_only=True)
    c_rate: float = field(default=0.0, kw_only=True)
    tau_rate: float = field(default=500.0, kw_only=True)

    def check(self) -> None:
        """Refuse numbers that are negative, or that have no meaning without others."""
        not_negative(eta=self.eta, tau_e=self.tau_e, damping=self.damping, c_rate=self.c_rate)
        if self.surrogate is not None and not isinstance(self.surrogate, Surrogate):
            raise UserError(f"surrogate must be one of spikesim.surrogate, got {self.surrogate!r}")
        if not self.tau_rate > 0:
            raise UserError(f"tau_rate must be > 0 ms, got {self.tau_rate}")
        if (self.rate is None) != (self.c_rate == 0.0):
            raise UserError("rate and c_rate go together: give both or neither")

    def eligibility(self) -> float:
        """That of the filter; the eligibility itself decays as the receiver does."""
        return max(self.tau_e, UNFILTERED)

    def on_pre(self, s: Named) -> Changes:
        """Nothing: weights follow the steps of their receivers, not events."""
        return {}
