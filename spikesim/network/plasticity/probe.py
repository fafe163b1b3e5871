"""Probes of plastic weights."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.network.distributed import gather
from spikesim.network.grid import period
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.probe import SampledProbe
from spikesim.network.projection import Projection


class WeightProbe(SampledProbe):
    """Weights of some synapses every so many steps; made by :meth:`Network.probe`.

    Attributes:
        projection: whose weights.
        synapses: which, in the order of ``projection.gather()``. Of several processes each watches
            those onto its own neurons; :meth:`gather` puts together what they recorded.
    """

    def __init__(
        self,
        projection: PlasticProjection,
        synapses: ArrayLike | None,
        every: int,
        dt: float,
        step: int,
    ) -> None:
        super().__init__(projection.post, None, dt, step)
        self.projection, self.every = projection, every
        self._wanted = self.synapses = self._own = _chosen(projection, synapses)
        if projection.division is not None:
            places = projection.division.places
            at = np.searchsorted(places, self._wanted)
            is_own = np.append(places, -1)[at] == self._wanted
            self.synapses, self._own = self._wanted[is_own], at[is_own]
        self._rows: list[NDArray[Any]]
        self.clear()

    @property
    def due(self) -> int:
        """The step before which the next weights are taken."""
        return self.step + self.every - (self.step - self.first) % self.every

    def take(self, step: int) -> None:
        """The network has run to ``step``."""
        is_due = step == self.due
        self.step = step
        if is_due:
            self._rows.append(self.projection.weights(self._own)[None])

    def clear(self) -> None:
        """Forget what was recorded so far."""
        super().clear()
        self._rows = [np.zeros((0, self.synapses.size), self.projection.post.dtype)]

    def _merge(self, own: Self) -> None:
        self.synapses = self._wanted
        values = np.empty((self.recorded, self._wanted.size), self.projection.post.dtype)
        for synapses, part in gather(self.group.share.world, (own.synapses, own.values)):
            columns = np.isin(self._wanted, synapses)
            values[:, columns] = part
        self._rows = [values]

    @property
    def values(self) -> NDArray[Any]:
        """``[times, synapses]``, in the unit of the receptor."""
        if len(self._rows) > 1:
            self._rows = [np.concatenate(self._rows)]
        return self._rows[0]


def make_weight_probe(
    projection: Projection,
    what: str,
    synapses: ArrayLike | None,
    every: float | None,
    dt: float,
    step: int,
) -> WeightProbe:
    """The probe of weights that :meth:`Network.probe` was asked for."""
    if what != "weight":
        raise UserError(f"{projection.name} has no {what!r} to probe; did you mean 'weight'?")
    if not isinstance(projection, PlasticProjection):
        raise UserError(f"{projection.name} is not plastic: its weights stay as they are")
    steps = period(1.0 if every is None else every, dt)
    return WeightProbe(projection, synapses, steps, dt, step)


def _chosen(projection: PlasticProjection, synapses: ArrayLike | None) -> NDArray[np.int64]:
    many = len(projection)
    if synapses is None:
        return np.arange(many)
    wanted = np.atleast_1d(np.asarray(synapses))
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        raise UserError(f"synapses of {projection.name} must be a list of whole numbers")
    wrong = (wanted < 0) | (wanted >= many)
    if wrong.any():
        raise UserError(f"synapse {wanted[wrong][0]} is not in {projection.name}, which has {many}")
    return wanted.astype(np.int64)
