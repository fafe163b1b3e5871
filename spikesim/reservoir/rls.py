"""Recursive least squares: the rule of FORCE."""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError

Array: TypeAlias = NDArray[np.float64]
Gain = Literal["textbook", "published"]

DEPTH = 32
"""Corrections of the matrix that are collected before they are made, all at once."""


def check_weight(weight: Array) -> None:
    """Refuse weights of a readout that a rule could not change in place."""
    if not isinstance(weight, np.ndarray) or weight.ndim != 2 or weight.dtype != np.float64:
        got = f"{getattr(weight, 'dtype', type(weight).__name__)} {list(np.shape(weight))}"
        raise UserError(f"weight must be an array of float64 [outputs, neurons], got {got}")


class RLS:
    r"""Recursive least squares, which changes the weights ``[outputs, neurons]`` of a readout.

    .. math::
        c = P r, \quad w_k \leftarrow w_k - g e_k c, \quad P \leftarrow P - \frac{c c^T}{1 + r^T c}

    from :math:`P = I / \lambda`. The gain :math:`g = 1 / (1 + r^T c)` of textbooks makes ``w`` the
    ridge solution :math:`(R^T R + \lambda I)^{-1} R^T y` of all samples so far; the published
    programs of FORCE for spiking networks take :math:`g = 1`: ``P`` before its update.

    An update reads ``P`` once and changes it every 32nd time: in between, corrections are
    collected and taken into account, which is the same sum in another order.

    Args:
        weight: ``[outputs, neurons]``, float64; changed in place.
        ridge: :math:`\lambda` > 0.
        gain: ``"textbook"`` or ``"published"``.

    Raises:
        UserError: an argument out of its range.

    Reference: D. Sussillo, L. F. Abbott (2009), Neuron 63:544; W. Nicola, C. Clopath (2017), Nat.
    Commun. 8:2208.

    >>> weight = np.zeros((1, 1))
    >>> rule = RLS(weight, ridge=0.5)
    >>> rule.update(np.ones(1), weight @ np.ones(1) - 3.0)
    >>> weight.item()  # 3 / (1 + 1/2)
    2.0
    """

    def __init__(self, weight: Array, *, ridge: float = 0.5, gain: Gain = "textbook") -> None:
        if not 0 < ridge < float("inf"):
            raise UserError(f"ridge must be > 0 and finite, got {ridge}")
        if gain not in ("textbook", "published"):
            raise UserError(f"gain must be 'textbook' or 'published', got {gain!r}")
        check_weight(weight)
        self.weight, self.ridge, self.gain = weight, ridge, gain
        self._inverse: Array
        self._columns, self._sizes = np.zeros((DEPTH, weight.shape[1])), np.zeros(DEPTH)
        self._many = 0
        self.reset()

    def reset(self) -> None:
        """Forget the samples, but not the weights: what a changed task needs."""
        self._inverse = np.eye(self.weight.shape[1]) / self.ridge
        self._many = 0

    def update(self, r: NDArray[Any], error: NDArray[Any]) -> None:
        """Learn from a sample.

        Args:
            r: what is summed, ``[neurons]``.
            error: outputs minus targets, ``[outputs]``.

        Raises:
            UserError: arrays of another shape; nothing is changed then.
        """
        r = np.asarray(r, np.float64)
        if (*np.shape(error), *r.shape) != self.weight.shape:
            raise UserError(
                f"weight is {list(self.weight.shape)}, which does not fit an error "
                f"{list(np.shape(error))} and activity {list(r.shape)}"
            )
        columns, sizes = self._columns[: self._many], self._sizes[: self._many]
        c = self._inverse @ r - (sizes * (columns @ r)) @ columns
        size = 1.0 / (1.0 + r @ c)
        self._columns[self._many], self._sizes[self._many] = c, size
        self._many += 1
        if self._many == DEPTH:
            self._inverse -= (self._columns.T * self._sizes) @ self._columns
            self._many = 0
        self.weight -= np.outer(error, c if self.gain == "published" else size * c)
