"""A local rule for readouts: activity, error, and whether it matters."""

import math

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.reservoir.rls import Array, check_weight


class ThreeFactor:
    r"""Error-modulated, attention-gated Hebbian learning of a readout ``[outputs, neurons]``.

    .. math::
        \Delta w_{ki} = \eta \, g_k e_k \bar r_i, \quad e_k = y_k - z_k, \quad
        \bar r_i = r_i - \langle r_i \rangle

    with the running mean :math:`\langle r_i \rangle` of a time constant, and the gate
    :math:`g_k \in [0, 1]`. A share of it is made at once, in each step of a trial (*when*); another
    is summed up and made at its end (*what*).

    Args:
        weight: ``[outputs, neurons]``, float64; changed in place.
        eta_when: rate of learning at once, per step.
        eta_what: rate of learning at the end of a trial, per step of it.
        tau_mean: time constant of the running mean, ms; infinite: the mean stays 0.
        expects: size of an output from which on its own gate is open, whatever is given: what was
            expected is compared with what comes, and unlearned where nothing does.
        dt: between two steps, ms.

    Attributes:
        when, what: the changes so far that were made at once, and at the ends of trials.

    Raises:
        UserError: an argument out of its range.

    Reference: Y. Yamada, Z. C. Chao (2025), arXiv 2510.14382, whose abstract names the factors; the
    equations are ours.
    """

    def __init__(
        self,
        weight: Array,
        *,
        eta_when: float,
        eta_what: float,
        tau_mean: float = math.inf,
        expects: float = math.inf,
        dt: float = 1.0,
    ) -> None:
        for name, value in (("eta_when", eta_when), ("eta_what", eta_what)):
            if not 0 <= value < math.inf:
                raise UserError(f"{name} must be >= 0 and finite, got {value}")
        for name, value in (("tau_mean", tau_mean), ("expects", expects), ("dt", dt)):
            if not value > 0:
                raise UserError(f"{name} must be > 0, got {value}")
        check_weight(weight)
        self.weight, self.eta_when, self.eta_what = weight, eta_when, eta_what
        self.expects, self.part = expects, -math.expm1(-dt / tau_mean)
        self.mean = np.zeros(weight.shape[1])
        self.when, self.what, self._summed = (np.zeros(weight.shape) for _ in range(3))

    def step(self, r: NDArray[np.floating], target: Array, gate: Array) -> Array:
        """Learn from a step; returns the outputs before.

        Args:
            r: activity, ``[neurons]``.
            target: ``[outputs]``.
            gate: ``[outputs]``, each from 0 to 1.
        """
        output: Array = self.weight @ r
        is_open = np.where(np.abs(output) >= self.expects, 1.0, gate)
        change = np.outer(is_open * (target - output), r - self.mean)
        self.mean += (r - self.mean) * self.part
        self._summed += change
        change *= self.eta_when
        self.weight += change
        self.when += change
        return output

    def end_trial(self) -> None:
        """Consolidate what was summed up over a trial."""
        change = self.eta_what * self._summed
        self.weight += change
        self.what += change
        self._summed[:] = 0.0
