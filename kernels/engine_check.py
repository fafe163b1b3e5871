"""Whether the arrays of an operation fit each other: compiled code looks at no size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.closed_loop import Sums
from spikesim.kernels.engine import (
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
    SpikeRecorder,
    SpikeSource,
    StateRecorder,
)
from spikesim.kernels.plastic_state import depth
from spikesim.kernels.poisson import LARGEST

TILE = 64
"""Neurons whose random words lie side by side."""
WHOLE = ("int32", "int64")
WEIGHTS = ("int8", "int16", "int32", "int64")


def check(operation: Operation, block: int) -> None:
    """See that an operation can run in blocks of so many steps.

    Raises:
        ValueError: it cannot; says which array is how, and how it should be.
    """
    match operation:
        case Cells():
            _cells(operation, block)
        case SpikeSource(steps=steps, senders=senders, count=count):
            _bits("spikes", operation.spikes, block, count)
            _array("steps", steps, ("int64",), (len(steps),))
            _array("senders", senders, ("int32",), (len(steps),))
            _inside("senders", senders, count)
            if np.any(np.diff(steps) < 0):
                raise ValueError("steps of given spikes must ascend")
        case Received(spikes=spikes, count=count):
            _bits("spikes", spikes, block, count)
        case Delivery():
            _delivery(operation, block)
        case PlasticDelivery():
            _plastic(operation, block)
        case EPropDelivery():
            _eprop(operation, block)
        case Modulation(values=values, levels=levels):
            _array("values", values, ("float64",), (values.size,))
            _array("levels", levels[:block], ("float64",), (block, values.size))
        case PoissonInput(ring=ring, mean_per_step=mean, first=first):
            _ring(ring, block)
            _first(first)
            _spread("mean_per_step", mean, ring)
            if not np.all((np.asarray(mean) >= 0) & (np.asarray(mean) <= LARGEST)):
                raise ValueError(f"mean_per_step must be from 0 to {LARGEST:g}")
        case NoiseInput(ring=ring, mean=mean, std=std, first=first):
            _ring(ring, block)
            _first(first)
            _spread("mean", mean, ring)
            _spread("std", std, ring)
        case CurrentInput(ring=ring, values=values):
            _ring(ring, block)
            _array("values", values, (ring.array.dtype.name,), ring.array.shape[1:])
        case StateRecorder(cells=cells, state=state, neurons=neurons):
            if state not in cells.traces:
                raise ValueError(f"state {state!r} is not among the traces of its cells")
            _array("neurons", neurons, ("int32",), (len(neurons),))
            _inside("neurons", neurons, cells.count)
        case Sums():
            _sums(operation, block)


def check_room(operation: Operation, first: int, steps: int) -> None:
    """See that a recorder has rows for these steps.

    Raises:
        ValueError: it has not, or its rows do not fit what it records.
    """
    match operation:
        case SpikeRecorder(source=source, bits=rows):
            _bits("bits", rows, len(rows), source.count)
        case StateRecorder(cells=cells, neurons=neurons, values=rows):
            _array("values", rows, (cells.dtype,), (len(rows), len(neurons)))
        case Sums(values=rows, weight=weight):
            _array("values", rows, ("float64",), (len(rows), len(weight)))
        case _:
            return
    start, end = operation.first, operation.first + len(rows)
    if not start <= first <= first + steps <= end:
        raise ValueError(
            f"a recorder has rows for the steps {start} to {end - 1}, "
            f"the run goes from {first} to {first + steps - 1}"
        )


def check_order(operations: Sequence[Operation], block: int) -> None:
    """See that what is delivered within a block comes before the cells that read it.

    Raises:
        ValueError: a delay is shorter than the block, and its delivery after these cells.
    """
    read: set[int] = set()
    for operation in operations:
        if isinstance(operation, Cells):
            read |= {id(ring) for ring in operation.rings.values()}
        elif isinstance(operation, Delivery) and id(operation.ring) in read:
            shortest = operation.delay
            if shortest is None:
                least = operation.place.min(initial=np.iinfo(operation.place.dtype).max)
                shortest = int(least) // operation.ring.array.shape[1]
            if shortest < block and len(operation.place):
                raise ValueError(
                    f"a delay of {shortest} steps is shorter than the block of {block}, and its "
                    "target runs first"
                )


def _cells(cells: Cells, block: int) -> None:
    program, count = cells.neuron.bound().program, cells.count
    _bits("spikes", cells.spikes, block, count)
    for name in program.parameters:
        value = cells.parameters[name]
        if not isinstance(value, int | float):
            _array(name, value, (cells.dtype,), (count,))
    for name in program.states:
        _array(name, cells.state[name], (cells.dtype,), (count,))
    for name, trace in cells.traces.items():
        _array(f"trace of {name}", trace, (cells.dtype,), (block, count))
    kind = "int64" if cells.dtype == "float64" else "int32"
    for name, ring in cells.rings.items():
        if ring is not None:
            _ring(ring, block)
            _array(f"ring of {name}", ring.array, (kind,), (len(ring.array), count))


def _plastic(delivery: PlasticDelivery, block: int) -> None:
    place, weight, state = delivery.place, delivery.weight, delivery.state
    cells, modulation = delivery.target, delivery.modulation
    _synapses(delivery, block)
    _array("weight", weight, (cells.dtype,), place.shape)
    _array("used", state.used, ("int32",), (delivery.ring.array.shape[1],))
    shortest = delivery.delay
    if shortest is None:
        shortest = int(place.min(initial=delivery.longest * cells.count)) // cells.count
    if shortest < block:
        raise ValueError(f"plastic synapses need delays of the block, {block}, not {shortest}")
    if state.depth < depth(delivery.longest, block):
        raise ValueError(f"{state.depth} spikes of a receiver are too few to be kept")
    if (state.sums is None) != (modulation is None):
        raise ValueError("an eligibility needs a modulation, and a modulation an eligibility")


def _eprop(delivery: EPropDelivery, block: int) -> None:
    place, state, cells = delivery.place, delivery.state, delivery.target
    _synapses(delivery, block)
    _array("weight", delivery.weight, (cells.dtype,), place.shape)
    for name in delivery.shown:
        if name not in cells.traces:
            raise ValueError(f"state {name!r} is not among the traces of the receivers")
    steps = len(state.psi)
    for name, array in (("psi", state.psi), ("open", state.open), ("signal", state.signal)):
        if array is not None:
            _array(name, array, (cells.dtype,), (steps, cells.count))
    _bits("sent", state.sent, len(state.sent), delivery.source.count)
    if delivery.shortest < block:
        raise ValueError(f"e-prop needs delays of the block, {block}, not {delivery.shortest}")
    if steps < delivery.shortest + 2 * block:
        raise ValueError(f"{steps} steps of receivers are too few to be kept")
    if len(state.sent) < steps + delivery.longest + delivery.response.lag:
        raise ValueError(f"{len(state.sent)} steps of senders are too few to be kept")


def _sums(sums: Sums, block: int) -> None:
    if sums.state not in sums.cells.traces:
        raise ValueError(f"state {sums.state!r} is not among the traces of its cells")
    many = len(sums.weight)
    _array("weight", sums.weight, ("float64",), (many, sums.cells.count))
    if sums.feedback is not None:
        ring, delay = sums.feedback.ring, sums.feedback.delay
        _ring(ring, block)
        slots, neurons = ring.array.shape
        _array("weight of feedback", sums.feedback.weight, ("float64",), (many, neurons))
        if not block <= delay <= slots - block:
            raise ValueError(f"feedback needs a delay from {block} to {slots - block}, not {delay}")


def _delivery(delivery: Delivery, block: int) -> None:
    _synapses(delivery, block)
    if isinstance(delivery.weight, np.ndarray):
        _array("weight", delivery.weight, WEIGHTS, delivery.place.shape)


def _synapses(delivery: Delivery | PlasticDelivery | EPropDelivery, block: int) -> None:
    ring, place = delivery.ring, delivery.place
    _ring(ring, block)
    slots, neurons = ring.array.shape
    _array("indptr", delivery.indptr, ("int64",), (delivery.source.count + 1,))
    _array("place", place, ("uint16", "uint32"), (int(delivery.indptr[-1]),))
    if np.any(np.diff(delivery.indptr) < 0) or delivery.indptr[0] != 0:
        raise ValueError("indptr must ascend from 0")
    longest = delivery.delay
    if longest is None:
        longest = int(place.max(initial=0)) // neurons
    if longest + block > slots:
        raise ValueError(f"a delay of {longest} steps needs {longest + block} slots, not {slots}")


def _ring(ring: Ring, block: int) -> None:
    slots = len(ring.array)
    _array("ring", ring.array, WHOLE, (slots, *ring.array.shape[1:]))
    if ring.array.ndim != 2 or slots & (slots - 1) or slots < block:
        raise ValueError(f"a ring must be [slots, neurons] with a power of two of at least {block}")


def _bits(name: str, array: NDArray[Any], steps: int, count: int) -> None:
    _array(name, array, ("uint32",), (steps, -(-count // 32)))


def _first(neuron: int) -> None:
    if neuron < 0 or neuron % TILE:
        raise ValueError(f"the first neuron must be a multiple of {TILE}, got {neuron}")


def _spread(name: str, value: float | NDArray[np.float64], ring: Ring) -> None:
    if np.ndim(value):
        _array(name, np.asarray(value), ("float64",), ring.array.shape[1:])
    if not np.all(np.isfinite(value)):
        raise ValueError(f"{name} must be finite")


def _inside(name: str, neurons: NDArray[Any], count: int) -> None:
    if len(neurons) and not 0 <= neurons.min() <= neurons.max() < count:
        raise ValueError(f"{name} must be from 0 to {count - 1}")


def _array(name: str, array: NDArray[Any], dtypes: tuple[str, ...], shape: tuple[int, ...]) -> None:
    if array.dtype.name not in dtypes or array.shape != shape or not array.flags.c_contiguous:
        gaps = "" if array.flags.c_contiguous else ", with gaps"
        raise ValueError(
            f"{name} must be {' or '.join(dtypes)} {list(shape)} without gaps, "
            f"got {array.dtype} {list(array.shape)}{gaps}"
        )
