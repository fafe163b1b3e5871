"""Plastic synapses as compiled functions with their tables; and what their weights are.

Importing this module imports numba, so it is imported inside functions.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels import engine_numba
from spikesim.kernels.engine import PlasticDelivery
from spikesim.kernels.numba_backend import imported, stamp
from spikesim.kernels.plastic import ELIGIBILITY, BoundRule, PlasticProgram, bind_rule
from spikesim.kernels.plastic_lines import PlasticVariant
from spikesim.kernels.plastic_state import NEWEST, Decay, decay
from spikesim.kernels.print_plastic import plastic_text, slots
from spikesim.kernels.time_loop_numba import WIDTH

Array = NDArray[Any]

HELPERS = tuple(f"{name}_numba.py" for name in ("plastic", "deliver", "engine"))
"""What the texts import beside what those of neurons do."""
SETTLE, READ = 1, 2
"""What is done with synapses; see ``visit`` in :mod:`spikesim.kernels.plastic_text`."""


def compiled(operation: PlasticDelivery) -> Any:
    """The module with the loops of an operation."""
    bound, decays = bind_rule(operation.rule), _decays(operation)
    modulation = operation.modulation
    variant = PlasticVariant(
        real=operation.weight.dtype.name,
        place=operation.place.dtype.name,
        is_spread=operation.delay is None,
        long=tuple(name for name, table in decays.items() if table.coarse is not None),
        is_each=modulation is not None and modulation.values.size > 1,
    )
    return _compiled(bound.program, variant)


@cache
def _compiled(program: PlasticProgram, variant: PlasticVariant) -> Any:
    return imported(plastic_text(program, variant, stamp(*HELPERS)))


def entries(
    operation: PlasticDelivery,
    ranges: NDArray[np.int64],
    lists: tuple[Array, int, Array],
    cuts: NDArray[np.int64],
    last_row: int,
) -> list[int | Array]:
    """The table of an operation.

    Args:
        operation: the synapses.
        ranges: of the receivers of each thread.
        lists: of the spikes of senders, as the engine has them.
        cuts: ``[parts + 1, senders]``: where the rows of synapses pass from part to part.
        last_row: of the bits of a block.
    """
    bound, state, weight = bind_rule(operation.rule), operation.state, operation.weight
    program, threads, target = bound.program, len(ranges) - 1, operation.target
    found: dict[str, int | Array] = {
        "ranges": ranges,
        "targets": target.count,
        "spikes": target.spikes,
        "words": target.spikes.shape[1],
        "last_row": last_row,
        "sources": operation.source.count,
        "lists": lists[0],
        "length": lists[1],
        "counts": lists[2],
        "threads": threads,
        "cuts": cuts,
        "place": operation.place,
        "weight": weight,
        "eligible": 0 if state.eligible is None else state.eligible,
        "ring": operation.ring.array,
        "slots": len(operation.ring.array),
        "delay": operation.delay or 0,
        "longest": operation.longest,
        "numbers": np.array(bound.numbers, weight.dtype),
        "reals": _reals(operation, bound),
        "inverse": np.array([1.0 / target.count]),
        "newest": state.newest,
        "steps_kept": state.steps,
        "totals": state.totals,
        "depth": state.depth,
        "used": state.used,
        "fullest": np.full(threads * engine_numba.APART, state.used.max(initial=0), np.int64),
        "published": np.zeros(threads * engine_numba.APART, np.int64),
        "clock": state.clock,
        "scratch": _aligned((threads, state.depth, WIDTH), np.int32),
        # By its address, so that it is compiled once, and not again within what calls it.
        "at_visit": compiled(operation).visit.address,
        "asked": np.zeros((threads, engine_numba.APART), np.int64),
        "lasts": state.lasts,
        "before_lasts": np.empty(lists[0].shape, np.int32),
        "sums": 0 if state.sums is None else state.sums,
        "grown": 0 if state.sums is None else 1.0 / _weights(operation, len(state.sums)),
        "window": 1 if state.sums is None else len(state.sums) - 1,
    }
    padded = -(-target.count // WIDTH) * WIDTH
    known = np.zeros((threads, engine_numba.APART), np.int64)
    known[:, 0] = -1
    found |= {
        "near": np.zeros((NEWEST // 4, padded), np.uint64),
        "padded": padded,
        "known": known,
        "turns": np.zeros((threads, last_row + 2), np.int64),
    }
    if operation.delay is not None:
        rows = len(operation.ring.array)
        found |= {
            "met": np.zeros(padded, np.int32),
            "arrivals": np.empty((rows, target.count), np.int32),
            "arrived": np.zeros((threads, rows), np.int64),
        }
    for i, trace in enumerate(state.pre):
        found |= {f"pre_{i}": trace, f"before_pre_{i}": np.empty(lists[0].shape, weight.dtype)}
    for i, (newest, after) in enumerate(zip(state.newest_post, state.post, strict=True)):
        found |= {f"newest_{i}": newest, f"after_{i}": after}
        found[f"before_post_{i}"] = state.before.get(i, 0)
        if operation.delay is not None:
            found |= {f"{part}_{i}": np.zeros(padded, weight.dtype) for part in ("met", "heard")}
    for name, table in _decays(operation).items():
        coarse = 0 if table.coarse is None else table.coarse
        found |= {f"fine_{name}": table.fine, f"coarse_{name}": coarse, f"end_{name}": table.last}
    return [found.get(name, 0) for name in slots(program)]


def forget(operation: PlasticDelivery, table: list[int | Array]) -> None:
    """Let the loops look at the state anew, which may be another one now."""
    known = table[slots(bind_rule(operation.rule).program).index("known")]
    assert isinstance(known, np.ndarray)
    known[:, 0] = -1


def accumulation(operation: PlasticDelivery, ranges: Array, last_row: int) -> list[int | Array]:
    """The table of :func:`~spikesim.kernels.plastic_numba.accumulate`."""
    modulation, sums = operation.modulation, operation.state.sums
    assert modulation is not None
    assert sums is not None
    steps = _weights(operation, len(sums)) * operation.dt
    levels = modulation.levels
    return [ranges, modulation.values.size, levels, last_row, sums, steps, len(sums) - 1]


def weights(operation: PlasticDelivery, rows: NDArray[np.int64] | None, now: int) -> Array:
    """Weights at the end of a step up to which all has run; of other rows they are undefined.

    Args:
        operation: the synapses.
        rows: senders; ``None``: all.
        now: the step.
    """
    out = np.empty_like(operation.weight)
    _look(operation, READ, rows, out, now)
    return out


def settle(operation: PlasticDelivery, now: int) -> None:
    """Let all synapses take up what came until step ``now``, up to which all has run.

    What follows stays bit for bit the same.
    """
    _look(operation, SETTLE, None, None, now)
    state = operation.state
    state.clock[:] = now
    state.used[:] = (state.steps + operation.longest > now).sum(1)


def _look(
    operation: PlasticDelivery,
    mode: int,
    rows: NDArray[np.int64] | None,
    out: Array | None,
    now: int,
) -> None:
    indptr = operation.indptr
    ranges = np.array([0, operation.target.count])
    nothing = np.empty((1, 0), np.int64), 0, np.zeros(engine_numba.APART, np.int64)
    cuts = np.stack([indptr[:-1], indptr[1:]])
    kept = entries(operation, ranges, nothing, cuts, len(operation.target.spikes) - 1)
    table = _numbers(kept)
    many = operation.source.count if rows is None else len(rows)
    settled = int(operation.state.clock[1])
    more: list[int | Array] = [
        table,
        mode,
        settled,
        0 if rows is None else rows,
        many,
        0 if out is None else out,
    ]
    given = _numbers(more)
    call = np.array([[compiled(operation).visit.address, given.ctypes.data, 0]])
    met = np.zeros(1, np.int64)
    engine_numba.drive(call.ctypes.data, 1, 1, now, now + 1, 0, 1, met.ctypes.data)


def _numbers(found: list[int | Array]) -> NDArray[np.int64]:
    numbers = [e.ctypes.data if isinstance(e, np.ndarray) else int(e) for e in found]
    return np.array(numbers, np.int64)


def _reals(operation: PlasticDelivery, bound: BoundRule) -> Array:
    rule, scale = operation.rule, operation.sign / operation.ring.quantum
    rests = [trace.rest for trace in (*rule.pre().values(), *rule.post().values())]
    return np.array([operation.low, operation.high, scale, *rests], operation.weight.dtype)


def _decays(operation: PlasticDelivery) -> dict[str, Decay]:
    """Of each trace, and of the eligibility."""
    rule, dtype = operation.rule, operation.weight.dtype.name
    taus = {name: trace.tau for name, trace in (*rule.pre().items(), *rule.post().items())}
    tau = rule.eligibility()
    if tau is not None:
        taus[ELIGIBILITY] = tau
    return {name: decay(tau, operation.dt, dtype) for name, tau in taus.items()}


def _weights(operation: PlasticDelivery, many: int) -> NDArray[np.float64]:
    """What is left of an eligibility after 0, 1, ... steps, in float64."""
    tau = operation.rule.eligibility()
    assert tau is not None
    return np.asarray(np.exp(-operation.dt / tau * np.arange(many)))


def _aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    """Zeros that begin at a line of the cache."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + size].view(dtype).reshape(shape)
