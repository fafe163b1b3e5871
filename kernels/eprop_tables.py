"""Synapses that learn by e-prop as compiled functions with their table.

Importing this module imports numba, so it is imported inside functions.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels import engine_numba
from spikesim.kernels.engine import EPropDelivery
from spikesim.kernels.eprop_text import REALS, ROWS, SLOTS, EPropVariant, eprop_text
from spikesim.kernels.numba_backend import imported, stamp

Array = NDArray[Any]

HELPERS = tuple(f"{name}_numba.py" for name in ("plastic", "deliver", "engine"))
"""What the texts import beside what those of neurons do."""
OF_RECEIVERS = ("keeps", "gain", "left", "rho", "beta", "jump")


def compiled(operation: EPropDelivery) -> Any:
    """The module with the loops of an operation."""
    response = operation.response
    variant = EPropVariant(
        real=operation.weight.dtype.name,
        place=operation.place.dtype.name,
        adapts=response.adapts,
        wipes=response.wipes,
    )
    return _compiled(variant)


@cache
def _compiled(variant: EPropVariant) -> Any:
    return imported(eprop_text(variant, stamp(*HELPERS)))


def entries(
    operation: EPropDelivery,
    ranges: NDArray[np.int64],
    source_ranges: NDArray[np.int64],
    lists: tuple[Array, int, Array],
    cuts: NDArray[np.int64],
    last_row: int,
) -> list[int | Array]:
    """The table of an operation.

    Args:
        operation: the synapses; its target has the traces that it shows.
        ranges, source_ranges: of the receivers and the senders of each thread.
        lists: of the spikes of senders, as the engine has them.
        cuts: ``[threads + 1, senders]``: where the rows of synapses pass from thread to thread.
        last_row: of the bits and traces of a block.
    """
    state, response, target = operation.state, operation.response, operation.target
    levels, threads = operation.modulation.levels, len(ranges) - 1
    found: dict[str, int | Array] = {
        "ranges": ranges,
        "targets": target.count,
        "last_row": last_row,
        "last_kept": len(state.psi) - 1,
        "levels": levels,
        "is_each": operation.modulation.values.size > 1,
        "psi": state.psi,
        "open_": 0 if state.open is None else state.open,
        "signal": state.signal,
        "reals": _reals(operation),
        "lists": lists[0],
        "length": lists[1],
        "counts": lists[2],
        "threads": threads,
        "cuts": cuts,
        "sources": operation.source.count,
        "source_ranges": source_ranges,
        "source_spikes": operation.source.spikes,
        "words": state.sent.shape[1],
        "sent": state.sent,
        "last_sent": len(state.sent) - 1,
        "lasts": state.lasts,
        "before_lasts": np.empty(lists[0].shape, np.int32),
        "taken": state.taken,
        "before_taken": np.empty(lists[0].shape, np.int32),
        "clock": state.clock,
        "found": np.empty((threads, len(state.sent)), np.int64),
        "place": operation.place,
        "weight": operation.weight,
        "ring": operation.ring.array,
        "slots": len(operation.ring.array),
        "delay": operation.delay or 0,
        "shortest": operation.shortest,
        "longest": operation.longest,
        "lag": response.lag,
        "reach": response.reach(operation.kappa),
        "every": operation.every,
        "inverse": np.array([1.0 / target.count]),
    }
    found |= {f"shown_{name}": target.traces[name] for name in operation.shown}
    found |= {name: array for name, array in state.arrays().items() if name in ROWS}
    found |= {name: getattr(response, name) for name in OF_RECEIVERS}
    return [found.get(name, 0) for name in SLOTS]


def _reals(operation: EPropDelivery) -> Array:
    values = {
        "factor": -operation.rate * operation.sign,
        "target_rate": operation.target_rate,
        "c_rate": operation.c_rate,
        "kappa": operation.kappa,
        "low": operation.low,
        "high": operation.high,
        "scale": operation.sign / operation.ring.quantum,
    }
    return np.array([values[name] for name in REALS], operation.weight.dtype)


def settle(operation: EPropDelivery, rows: NDArray[np.int64] | None, now: int) -> None:
    """Let weights be those that a spike of the next step would find.

    What follows stays bit for bit the same.

    Args:
        operation: the synapses.
        rows: senders; ``None``: all.
        now: the step up to which all has run.
    """
    state, indptr = operation.state, operation.indptr
    to = max(now + 1 - operation.shortest, int(state.clock[1]))
    chosen = np.arange(operation.source.count) if rows is None else rows.astype(np.int64)
    whole = np.array([0, operation.target.count])
    nothing = np.empty((1, 0), np.int64), 0, np.zeros(engine_numba.APART, np.int64)
    cuts = np.stack([indptr[:-1], indptr[1:]])
    kept = entries(operation, whole, whole, nothing, cuts, len(operation.target.spikes) - 1)
    table = _numbers(kept)
    given = _numbers([table, chosen, len(chosen)])
    call = np.array([[compiled(operation).look.address, given.ctypes.data, 0]])
    met = np.zeros(1, np.int64)
    engine_numba.drive(call.ctypes.data, 1, 1, to, to + 1, 0, 1, met.ctypes.data)
    state.taken[chosen] = to
    if rows is None:
        state.clock[:] = to


def _numbers(found: list[int | Array]) -> NDArray[np.int64]:
    numbers = [e.ctypes.data if isinstance(e, np.ndarray) else int(e) for e in found]
    return np.array(numbers, np.int64)
