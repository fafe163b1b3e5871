"""Projections whose weights follow a plasticity rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import BackendError, UserError
from spikesim.kernels.builder import Array, Builder, Rows
from spikesim.kernels.engine import Cells, Modulation, PlasticDelivery, Ring, Source
from spikesim.kernels.plastic import bind_rule
from spikesim.kernels.plastic_state import first_state
from spikesim.network.distributed_arrays import ByRow, Common, Division
from spikesim.network.memory import check_memory
from spikesim.network.plasticity.modulator import Modulator
from spikesim.network.plasticity.rule import Plasticity
from spikesim.network.population import Group, Population
from spikesim.network.projection import Projection


class PlasticProjection(Projection):
    """Synapses that spikes change; made by ``net.connect(..., plasticity=rule)``.

    A synapse takes its place, its weight in the network's dtype, and as much for an eligibility.

    Args:
        name, pre, post, receptor, rows, weight, delay, dt, builder: see :class:`Projection`.
        plasticity: the rule.
        modulator: of its eligibility.

    Attributes:
        rule: the rule.
        sign: 1, or -1 for inhibitory weights, whose size the rule sees.
        strength: ``[synapses]``, the size of the weights; of several processes each has those of
            the synapses onto its own neurons.
    """

    is_plastic = True

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
        plasticity: Plasticity,
        modulator: Modulator | None,
    ) -> None:
        super().__init__(name, pre, post, receptor, rows, weight, delay, dt=dt, builder=builder)
        if self.least_delay < 1:
            raise UserError(f"{name} is plastic: its delays must be a step at least, dt = {dt} ms")
        self.rule, self.modulator = plasticity, modulator
        program = bind_rule(plasticity).program
        if program.has_eligibility != (modulator is not None):
            raise UserError(
                f"{name}: {type(plasticity).__name__} has an eligibility: pass "
                "modulator=net.modulator(...)"
                if modulator is None
                else f"{name}: {type(plasticity).__name__} has no eligibility to modulate"
            )
        own = modulator is not None and modulator.post is not None
        if own and modulator is not None and modulator.post is not post:
            raise UserError(f"{modulator.name} has values for other neurons than those of {name}")
        low, high = self._limits(self.weight, 0.0)
        self.sign = 1.0
        if plasticity.w_min >= 0:
            self.sign = self._sign(low, high)
            low, high = sorted((self.sign * low, self.sign * high))
        self.low, self.high = plasticity.w_min, plasticity.w_max
        if self.high == np.inf:
            if program.is_plastic:
                raise UserError(f"w_max of {type(plasticity).__name__} must be finite")
            self.high = max(high, self.low)
        if len(self) and not self.low <= low <= high <= self.high:
            raise UserError(
                f"weights of {name} have sizes from {low:g} to {high:g}, outside of w_min and "
                f"w_max, {self.low:g} and {self.high:g}"
            )
        self.strength: NDArray[Any]
        self._operation: PlasticDelivery | None = None
        self._step: Callable[[], int] = lambda: 0

    def keep_own(self) -> None:
        """As :meth:`Projection.keep_own`; ``strength`` is of these.

        Raises:
            BackendError: of several processes with devices.
        """
        if not self.builder.is_cpu and not self.post.share.is_whole:
            raise BackendError(
                f"{self.name} is plastic: several processes share it on the CPU only; "
                "use device='cpu'"
            )
        super().keep_own()
        size = 4 * len(self.place) * self.post.dtype.itemsize
        check_memory(size, f"the plastic synapses of {self.name}")
        self.strength = np.empty(len(self.place), self.post.dtype)
        weight = self.weight
        self.strength[:] = (
            weight if isinstance(weight, int | float) else self.builder.download(weight)
        )
        self.strength *= self.sign

    def _sign(self, low: float, high: float) -> float:
        if low < 0 < high:
            raise UserError(
                f"weights of {self.name} lie between {low:g} and {high:g}: a plastic weight keeps "
                "its sign, the same for all, unless the rule has w_min < 0"
            )
        is_inhibitory = low < 0 or (high == 0 and self.receptor == "inhibitory")
        return -1.0 if is_inhibitory else 1.0

    def at_most(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each neuron gets in a step if all spike with weights at their bound."""
        terms = super().at_most()[1]
        return terms * max(abs(self.low), abs(self.high)), terms

    def typical(self) -> float:
        """The mean size of the first weights that are not 0, else the bound."""
        return super().typical() or max(abs(self.low), abs(self.high))

    def operation(
        self,
        source: Source,
        target: Cells,
        ring: Ring,
        modulation: Modulation | None,
        block: int,
        step: Callable[[], int],
    ) -> PlasticDelivery:
        """What an engine runs; ``step`` tells the next step of the network."""
        self.weight, self.quantum = self.strength, self.sign
        self._step = step
        self._operation = PlasticDelivery(
            source=source,
            target=target,
            ring=ring,
            indptr=self.indptr,
            place=self.place,
            delay=self.delay,
            longest=self.largest_delay,
            weight=self.strength,
            low=self.low,
            high=self.high,
            sign=self.sign,
            rule=self.rule,
            dt=self.dt,
            state=first_state(
                bind_rule(self.rule),
                self.rule,
                dt=self.dt,
                senders=self.pre.size,
                receivers=self.post.share.count,
                synapses=len(self.strength),
                longest=self.largest_delay,
                block=block,
                values=1 if modulation is None else modulation.values.size,
                all_values=1 if self.modulator is None else self.modulator.values.size,
                dtype=self.post.dtype,
            ),
            modulation=modulation,
        )
        return self._operation

    def divisions(self) -> dict[str, Division]:
        """Of the arrays of its state, and of its weights, among processes."""
        assert self._operation is not None
        share, modulator = self.post.share, self.modulator
        of_sums = Common(share) if modulator is None else modulator.division or Common(share)
        of_synapses = self.division
        assert of_synapses is not None
        found: dict[str, Division] = {"weight": of_synapses}
        kinds: dict[str, Division] = {"eligible": of_synapses, "sums": of_sums}
        kinds |= dict.fromkeys(("lasts", "pre", "clock"), Common(share))
        for name in self._operation.state.arrays():
            found[name] = kinds.get(name.partition(".")[0], ByRow(share))
        return found

    def catch_up(self) -> None:
        """Let all synapses take up the spikes so far; a run goes on the same.

        Those of a device have done so when their state was fetched.
        """
        if self._operation is not None and self.builder.is_cpu and self.post.share.count:
            from spikesim.kernels.plastic_tables import settle

            settle(self._operation, self._step() - 1)

    def weights(self, synapses: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Weights as they are now, in the unit of the receptor.

        Of several processes each has those of the synapses onto its own neurons;
        :meth:`gather` has all.

        Args:
            synapses: which, in the order of :meth:`table`; ``None``: all.
        """
        chosen = self._sizes(synapses)
        chosen *= chosen.dtype.type(self.sign)
        return chosen

    def _sizes(self, synapses: NDArray[np.int64] | None) -> NDArray[Any]:
        found, operation, now = self.strength, self._operation, self._step() - 1
        if operation is not None and operation.resident is not None:
            return operation.resident.weights(synapses, now)
        if operation is not None and self.post.share.count:
            from spikesim.kernels.plastic_tables import weights

            indptr, place = (self.builder.download(a) for a in (self.indptr, self.place))
            rows = None
            if synapses is not None:
                rows = np.unique(np.searchsorted(indptr, synapses, side="right") - 1)
            found = weights(replace(operation, indptr=indptr, place=place), rows, now)
        return found.copy() if synapses is None else found[synapses]

    def set_weights(self, weights: ArrayLike) -> None:
        """Go on with other weights, between two runs: for rules that act on all at once.

        Spikes so far have acted on the old ones; traces and eligibilities stay.

        Args:
            weights: one for each synapse, in the order of :meth:`table` and in the unit of the
                receptor; brought back to the bounds of the rule.

        Raises:
            UserError: another number of weights, or one that is not finite.
        """
        given = np.asarray(weights, np.float64).reshape(-1)
        if given.size != self.strength.size:
            raise UserError(f"{self.name} takes {self.strength.size} weights, got {given.size}")
        if not np.isfinite(given).all():
            raise UserError(f"weights of {self.name} must be finite")
        self.catch_up()
        self.strength[:] = np.clip(given * self.sign, self.low, self.high)
        if self._operation is not None and self._operation.resident is not None:
            self._operation.resident.set_weights(self.strength, self._step() - 1)
