"""The operations of a network as compiled functions, each with a table of sizes and addresses.

Importing this module imports numba, so it is imported inside functions.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import BackendError
from spikesim.kernels import (
    closed_loop_tables,
    deliver_numba,
    engine_numba,
    eprop_tables,
    inputs_numba,
    plastic_numba,
    plastic_tables,
)
from spikesim.kernels.closed_loop import Sums
from spikesim.kernels.engine import (
    Call,
    Cells,
    CurrentInput,
    Delivery,
    EPropDelivery,
    Modulation,
    NoiseInput,
    Operation,
    PlasticDelivery,
    PoissonInput,
    Received,
    Ring,
    Source,
    SpikeRecorder,
    SpikeSource,
    StateRecorder,
)
from spikesim.kernels.engine_calls import Calls
from spikesim.kernels.engine_own import OwnRings, rings_of
from spikesim.kernels.engine_rows import Row, row_of, waits
from spikesim.kernels.exchange import Exchanged
from spikesim.kernels.numba_backend import imported, stamp
from spikesim.kernels.plastic import bind_rule
from spikesim.kernels.poisson import poisson_limits
from spikesim.kernels.print_advance import AdvanceVariant, advance_text, slots
from spikesim.kernels.program import Program
from spikesim.kernels.time_loop_numba import WIDTH

Array = NDArray[Any]


RECORDERS = SpikeRecorder | StateRecorder | Sums
NEAR = 1 << 15
"""Bytes of a ring's slot that stay in the nearest cache while spikes are delivered."""


class Tables:
    """The rows of a list of operations."""

    def __init__(self, operations: Sequence[Operation], block: int, threads: int) -> None:
        self._operations, self._block, self._threads = operations, block, threads
        self._ranges = cache(lambda count: shares(count, threads))
        self._lists = {
            operation.source: self._empty_lists(operation.source.count)
            for operation in operations
            if isinstance(operation, Delivery | PlasticDelivery | EPropDelivery)
        }
        self._plastic = {
            operation: self._table_of(operation)
            for operation in operations
            if isinstance(operation, PlasticDelivery)
        }
        self._eprop = {
            operation: self._eprop_table(operation)
            for operation in operations
            if isinstance(operation, EPropDelivery)
        }
        self.calls = Calls()
        self._rows = [self._lowered(operation) for operation in operations]
        self._means = [getattr(operation, "mean_per_step", None) for operation in operations]
        # Sums are fed back by one thread to the neurons of all.
        is_shared = threads == 1 or any(row.is_alone for found in self._rows for row in found)
        rings = [] if is_shared else rings_of(operations)
        self.own = OwnRings(rings, [self._ranges(ring.shape[1]) for ring in rings])

    def rows(self) -> list[NDArray[np.int64]]:
        """For each thread ``[rows, 3]`` for :func:`~spikesim.kernels.engine_numba.drive`, as things
        are now; they hold as long as no others are asked for."""
        for i, operation in enumerate(self._operations):
            mean = getattr(operation, "mean_per_step", None)
            if isinstance(operation, RECORDERS) or mean is not self._means[i]:
                self._rows[i], self._means[i] = self._lowered(operation), mean
        for delivery, table in self._plastic.items():
            plastic_tables.forget(delivery, table)
        rows = [row for found in self._rows for row in found]
        before = waits(rows) if self._threads > 1 else [False] * len(rows)
        found = []
        for thread in range(self._threads):
            own = self.own.of(thread)
            tables = [row.table(thread, own) for row in rows]
            entries = [
                (row.function.address, table.ctypes.data, wait)
                for row, table, wait in zip(rows, tables, before, strict=True)
            ]
            found.append(np.array(entries, np.int64).reshape(-1, 3))
        return found

    def _lowered(self, operation: Operation) -> list[Row]:
        match operation:
            case Cells():
                return [
                    self._advance(operation),
                    *self._listing(operation),
                    *self._remembering(operation),
                    *self._noting(operation),
                ]
            case SpikeSource():
                steps, senders = operation.steps, operation.senders
                given = (*self._bits(operation), steps, senders, len(steps))
                return [row_of(engine_numba.replay, *given), *self._listing(operation)]
            case Received():
                return self._listing(operation)
            case Call():
                return [self._call(operation)]
            case Exchanged():
                raise BackendError("an exchange between devices needs a CUDA engine")
            case Delivery():
                return [self._delivery(operation)]
            case Modulation():
                return [self._modulation(operation)]
            case PlasticDelivery():
                return self._plastic_delivery(operation)
            case EPropDelivery():
                module, table = eprop_tables.compiled(operation), self._eprop[operation]
                prepare, deliver = row_of(module.prepare, *table), row_of(module.deliver, *table)
                prepare.writes = deliver.reads = operation.source
                return [prepare, deliver]
            case PoissonInput():
                return [self._poisson(operation)]
            case NoiseInput():
                return [self._noise(operation)]
            case CurrentInput():
                function = inputs_numba.current(operation.ring.array.dtype.name)
                return [row_of(function, *self._ring(operation.ring), operation.values)]
            case SpikeRecorder():
                bits = self._bits(operation.source)
                return [row_of(engine_numba.record_spikes, *bits, operation.bits, operation.first)]
            case StateRecorder():
                return [self._record_state(operation)]
            case Sums():
                return closed_loop_tables.rows(operation, self._block)

    def _call(self, call: Call) -> Row:
        address, kept = self.calls.operation(call)
        row = row_of(engine_numba.by_first, address)
        row.kept, row.is_alone = kept, True
        return row

    def _bits(self, source: Source) -> tuple[int | Array, ...]:
        spikes = source.spikes
        return self._ranges(source.count), spikes, spikes.shape[1], self._block - 1

    def _ring(self, ring: Ring) -> tuple[int | Array, ...]:
        many, neurons = ring.array.shape
        return self._ranges(neurons), neurons, ring.array, many - 1

    def _empty_lists(self, count: int) -> tuple[Array, int, Array]:
        """Room for all to spike in each step; memory that is never touched is never taken."""
        length = self._block * int(np.diff(self._ranges(count)).max())
        counts = np.zeros(engine_numba.APART * self._threads, np.int64)
        return np.empty((self._threads, length), np.int64), length, counts

    def _listing(self, source: Source) -> list[Row]:
        if source not in self._lists:
            return []
        row = row_of(engine_numba.list_spikes, *self._bits(source), *self._lists[source])
        row.writes = source
        return [row]

    def _advance(self, cells: Cells) -> Row:
        bound = cells.neuron.bound()
        program, real = bound.program, np.dtype(cells.dtype)
        rings = {name: ring for name, ring in cells.rings.items() if ring is not None}
        driven = tuple(name for name in program.inputs if name in rings)
        given = {name: cells.parameters[name] for name in program.parameters}
        arrays = {name: v for name, v in given.items() if isinstance(v, np.ndarray)}
        numbers = tuple(name for name in given if name not in arrays)
        variant = AdvanceVariant(real.name, driven, numbers)
        quanta = [rings[name].quantum for name in driven] + [given[name] for name in numbers]
        entries: dict[str, int | Array] = {
            "ranges": self._ranges(cells.count),
            "neurons": cells.count,
            "last_row": self._block - 1,
            "words": cells.spikes.shape[1],
            "spikes": cells.spikes,
            "numbers": np.array(bound.numbers, real),
            "quanta": np.array(quanta, real),
            "seed": cells.seed,
            "stream": cells.stream,
            "elements": cells.first
            + np.arange(cells.count if program.draws else 0, dtype=np.uint32),
            "samples": np.zeros(cells.count if program.draws else 0, np.uint32),
        }
        for name in driven:
            entries[f"ring_{name}"] = rings[name].array
            entries[f"last_slot_{name}"] = len(rings[name].array) - 1
        for i, name in enumerate(program.states):
            entries[f"state_{i}"] = cells.state[name]
            entries[f"trace_{i}"] = cells.traces.get(name, 0)
        entries |= {f"array_{name}": array for name, array in arrays.items()}
        function = _advance(program, variant)
        return row_of(function, *(entries[name] for name in slots(program, variant)))

    def _delivery(self, delivery: Delivery) -> Row:
        ring, weight, place = delivery.ring.array, delivery.weight, delivery.place
        lists = self._lists[delivery.source]
        limits = self._ranges(ring.shape[1])
        parts = 1
        is_spread = delivery.delay is None
        if not is_spread:
            parts = -(-int(np.diff(limits).max()) * ring.itemsize // NEAR)
            limits = split(limits, parts)
        cuts = _cuts(delivery, limits)
        kind = weight.dtype.name if isinstance(weight, np.ndarray) else None
        function = deliver_numba.deliver(place.dtype.name, kind, ring.dtype.name, is_spread)
        row = row_of(
            function,
            *(*lists, self._threads, cuts, cuts.shape[1], parts, place, weight),
            *(ring, ring.shape[1], ring.shape[0], delivery.delay or 0),
        )
        row.reads = delivery.source
        return row

    def _modulation(self, modulation: Modulation) -> Row:
        values, levels = modulation.values, modulation.levels
        ranges, factor = self._ranges(values.size), np.array([modulation.factor])
        given = (ranges, values, values.size, levels, self._block - 1, factor)
        row = row_of(plastic_numba.modulate, *given)
        row.writes = modulation
        return row

    def _table_of(self, operation: PlasticDelivery) -> list[int | Array]:
        ranges, lists = self._ranges(operation.target.count), self._lists[operation.source]
        cuts = _cuts(operation, ranges)
        return plastic_tables.entries(operation, ranges, lists, cuts, self._block - 1)

    def _remembering(self, cells: Cells) -> list[Row]:
        return [
            row_of(plastic_tables.compiled(operation).remember, *table)
            for operation, table in self._plastic.items()
            if operation.target is cells and bind_rule(operation.rule).program.looks_back
        ]

    def _eprop_table(self, operation: EPropDelivery) -> list[int | Array]:
        ranges = self._ranges(operation.target.count)
        sources, lists = self._ranges(operation.source.count), self._lists[operation.source]
        cuts = _cuts(operation, ranges)
        return eprop_tables.entries(operation, ranges, sources, lists, cuts, self._block - 1)

    def _noting(self, cells: Cells) -> list[Row]:
        rows = []
        for operation, table in self._eprop.items():
            if operation.target is cells:
                rows.append(row_of(eprop_tables.compiled(operation).note, *table))
                rows[-1].reads = operation.modulation
        return rows

    def _plastic_delivery(self, operation: PlasticDelivery) -> list[Row]:
        module, table = plastic_tables.compiled(operation), self._plastic[operation]
        prepare, deliver = row_of(module.prepare, *table), row_of(module.deliver, *table)
        prepare.writes = deliver.reads = operation.source
        if operation.modulation is None:
            return [prepare, deliver]
        ranges = self._ranges(operation.modulation.values.size)
        given = plastic_tables.accumulation(operation, ranges, self._block - 1)
        return [row_of(plastic_numba.accumulate, *given), prepare, deliver]

    def _poisson(self, poisson: PoissonInput) -> Row:
        dtype = poisson.ring.array.dtype
        means, which = np.unique(poisson.mean_per_step, return_inverse=True)
        base, limits = poisson_limits(means)
        if len(means) > 1:
            base, limits = base[which], limits[:, which]
        bases, many = _columns((base * poisson.weight).astype(dtype)), len(limits)
        limits = _columns(limits)
        given = (poisson.weight, poisson.seed, poisson.stream, bases, limits, many)
        return row_of(
            inputs_numba.poisson(dtype.name),
            *(*self._ring(poisson.ring), *given, limits.shape[1], len(means) > 1, poisson.first),
        )

    def _noise(self, noise: NoiseInput) -> Row:
        numbers = np.broadcast_arrays(*(np.float64(v) for v in (noise.mean, noise.std)))
        mean, std = (_columns(np.atleast_1d(v) / noise.ring.quantum) for v in numbers)
        return row_of(
            inputs_numba.noise(noise.ring.array.dtype.name),
            *(*self._ring(noise.ring), noise.seed, noise.stream, mean, std, numbers[0].size > 1),
            noise.first,
        )

    def _record_state(self, recorder: StateRecorder) -> Row:
        trace = recorder.cells.traces[recorder.state]
        return row_of(
            engine_numba.record_state(trace.dtype.name),
            *(self._ranges(recorder.cells.count), trace, trace.shape[1], self._block - 1),
            *(recorder.values, recorder.first, recorder.neurons, len(recorder.neurons)),
        )


def shares(count: int, threads: int) -> NDArray[np.int64]:
    """``[threads + 1]``: where the neurons of each thread begin, in whole tiles."""
    tiles = -(-count // WIDTH)
    return np.minimum(np.arange(threads + 1) * tiles // threads * WIDTH, count).astype(np.int64)


def split(limits: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """The limits with ``parts`` parts of each range."""
    inside = [np.linspace(a, b, parts, endpoint=False) for a, b in pairwise(limits)]
    return np.append(np.concatenate(inside).astype(np.int64), limits[-1])


def _cuts(delivery: Delivery | PlasticDelivery | EPropDelivery, limits: NDArray[np.int64]) -> Array:
    """Where the synapses of each row pass the limits of targets."""
    cuts = np.empty((len(limits), len(delivery.indptr) - 1), np.int64)
    given = delivery.indptr, delivery.ring.array.shape[1], delivery.delay is None
    wrong = deliver_numba.cut(delivery.place, *given, limits, cuts)
    if wrong >= 0:
        raise ValueError(f"targets of neuron {wrong} do not ascend, or are not in the ring")
    return cuts


@cache
def _advance(program: Program, variant: AdvanceVariant) -> Any:
    return imported(advance_text(program, variant, stamp())).run


def _columns(values: Array) -> Array:
    """The last axis in whole tiles: one value for each neuron of a tile, or those of neurons."""
    many = values.shape[-1]
    widths = [(0, 0)] * (values.ndim - 1) + [(0, -many % WIDTH)]
    return np.ascontiguousarray(np.pad(values, widths, mode="edge"))
