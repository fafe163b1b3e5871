"""Projections that learn by e-prop."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import BackendError, UserError
from spikesim.kernels.builder import Array, Builder, Rows
from spikesim.kernels.engine import Cells, EPropDelivery, Modulation, Ring, Source
from spikesim.kernels.eprop_state import first_state
from spikesim.network.grid import whole_steps
from spikesim.network.memory import check_memory
from spikesim.network.plasticity.eprop import EProp
from spikesim.network.plasticity.eprop_neurons import response, watch
from spikesim.network.plasticity.modulator import Modulator
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.plasticity.rule import Plasticity
from spikesim.network.population import Group, Population
from spikesim.network.projection import ProjectionMaker


class EPropProjection(PlasticProjection):
    """Synapses that follow gradients; made by ``net.connect(..., plasticity=EProp(...))``.

    A synapse takes its place, its weight, and up to five numbers more in the network's dtype.

    Args:
        name, pre, post, receptor, rows, weight, delay, dt, builder: see :class:`PlasticProjection`.
        plasticity: the rule.
        modulator: the learning signal.
    """

    rule: EProp
    modulator: Modulator

    def __init__(
        self,
        name: str,
        pre: Group,
        post: Population,
        receptor: str | None,
        rows: Rows,
        weight: float | Array,
        delay: int | Array,
        *,
        dt: float,
        builder: Builder,
        plasticity: EProp,
        modulator: Modulator | None,
    ) -> None:
        if not builder.is_cpu:
            raise BackendError(f"{name}: e-prop runs on the CPU; use Network(device='cpu')")
        if not post.share.is_whole:
            raise UserError(f"{name}: e-prop runs in one process only")
        super().__init__(
            *(name, pre, post, receptor, rows, weight, delay),
            dt=dt,
            builder=builder,
            plasticity=plasticity,
            modulator=modulator,
        )
        every = dt if plasticity.every is None else plasticity.every
        self.every = int(whole_steps(every, dt, f"every of {name}"))
        if self.every < 1:
            raise UserError(f"every of {name} must be at least one step, dt = {dt} ms, got {every}")
        check_memory(6 * len(self) * post.dtype.itemsize, f"the synapses of {name}")
        self.response = response(post, self.receptor)
        watch(post, plasticity)
        self._eprop: EPropDelivery | None = None

    def operation(  # type: ignore[override]
        self,
        source: Source,
        target: Cells,
        ring: Ring,
        modulation: Modulation,
        block: int,
        step: Callable[[], int],
    ) -> EPropDelivery:
        """What an engine runs; ``step`` tells the next step of the network."""
        self.weight, self.quantum = self.strength, self.sign
        self._step, rule = step, self.rule
        kappa = math.exp(-self.dt / rule.eligibility())
        self._eprop = EPropDelivery(
            source=source,
            target=target,
            ring=ring,
            indptr=self.indptr,
            place=self.place,
            delay=self.delay,
            shortest=self.least_delay,
            longest=self.largest_delay,
            weight=self.strength,
            low=self.low,
            high=self.high,
            sign=self.sign,
            rate=rule.eta,
            kappa=kappa,
            every=self.every,
            target_rate=rule.rate or 0.0,
            c_rate=rule.c_rate,
            response=self.response,
            state=first_state(
                self.response,
                senders=self.pre.size,
                synapses=len(self),
                shortest=self.least_delay,
                longest=self.largest_delay,
                block=block,
                kappa=kappa,
                is_summed=self.every > 1,
            ),
            modulation=modulation,
        )
        return self._eprop

    def catch_up(self) -> None:
        """Let all synapses go through the steps so far; a run goes on the same."""
        self._settle(None)

    def weights(self, synapses: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Weights as a spike of the next step would find them, in the unit of the receptor.

        Args:
            synapses: which, in the order of :meth:`table`; ``None``: all.
        """
        rows = None
        if synapses is not None:
            rows = np.unique(np.searchsorted(self.indptr, synapses, side="right") - 1)
        self._settle(rows)
        chosen = self.strength.copy() if synapses is None else self.strength[synapses]
        chosen *= chosen.dtype.type(self.sign)
        return chosen

    def _settle(self, rows: NDArray[np.int64] | None) -> None:
        if self._eprop is not None:
            from spikesim.kernels.eprop_tables import settle

            settle(self._eprop, rows, self._step() - 1)


def learning(plasticity: Plasticity, modulator: Modulator | None) -> ProjectionMaker:
    """What makes the projections of a rule."""
    kind: ProjectionMaker = EPropProjection if isinstance(plasticity, EProp) else PlasticProjection
    return partial(kind, plasticity=plasticity, modulator=modulator)
