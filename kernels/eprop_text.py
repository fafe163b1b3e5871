"""The loops of synapses that learn by e-prop, as numba text.

In each step what receivers show is kept. Before a spike of a sender is sent, its synapses go
through the steps since the last one, a tile side by side: each computes what a loop over all
synapses in each step would, in the same order, so that nothing depends on when it is done.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from spikesim.kernels.print_numba import filled
from spikesim.kernels.time_loop_numba import WIDTH

SLOTS = (
    *("ranges", "targets", "last_row", "last_kept", "levels", "is_each"),
    *("shown_psi", "shown_open", "shown_rate", "psi", "open_", "signal", "reals"),
    *("lists", "length", "counts", "threads", "cuts", "sources"),
    *("source_ranges", "source_spikes", "words", "sent", "last_sent"),
    *("lasts", "before_lasts", "taken", "before_taken", "clock", "found"),
    *("place", "weight", "j", "u", "a", "e", "g", "keeps", "gain", "left", "rho", "beta", "jump"),
    *("ring", "slots", "delay", "shortest", "longest", "lag", "reach", "every", "inverse"),
)
"""What each entry of the table is."""
REALS = ("factor", "target_rate", "c_rate", "kappa", "low", "high", "scale")
"""What ``reals`` holds."""
ROWS = ("j", "u", "a", "e", "g")
"""What synapses have beside their weight."""


@dataclass(frozen=True)
class EPropVariant:
    """What is fixed when the text is printed."""

    real: str
    place: str
    adapts: bool
    wipes: bool


@cache
def eprop_text(variant: EPropVariant, stamp: str) -> str:
    """A module that compiles ``note``, ``prepare``, ``deliver`` and ``look``."""
    real, ring = variant.real, "int64" if variant.real == "float64" else "int32"
    place = "float16" if variant.place == "uint16" else "int32"
    head = (
        f'"""Synapses that learn by e-prop, printed for numba; helpers {stamp}."""',
        "from numba import cfunc, float64, int64, njit, void",
        f"from numpy import int32, {variant.place} as place_number",
        f"from numpy import {ring} as ring_number, {real} as real",
        "from spikesim.kernels.memory_numba import apart, copy, least, load_int64, load_uint32",
        "from spikesim.kernels.memory_numba import nearest, read, select, wide",
        f"from spikesim.kernels.memory_numba import write, load_{real} as load",
        f"from spikesim.kernels.tile_numba import room, take_{place} as take_place",
        f"from spikesim.kernels.tile_numba import give_{real} as give, take_{real} as take",
        "from spikesim.kernels.engine_numba import APART",
        "from spikesim.kernels.deliver_numba import add",
        f"from spikesim.kernels.plastic_numba import greatest, pick_{real} as pick",
        f"WIDTH, REAL = {WIDTH}, {8 if real == 'float64' else 4}",
        "ZERO = real(0)",
    )
    places = _places(variant)
    body = (line for loop in (NOTE, PREPARE, VISIT, DELIVER, LOOK) for line in _loop(loop, places))
    return "\n".join((*head, *body, ""))


def _loop(text: str, places: dict[str, list[str]]) -> Iterator[str]:
    """A loop with its places, which begins with the entries of the table that it reads."""
    lines = list(filled(text, places | {"addresses": ["$addresses"]}))
    used = set(re.findall(r"\w+", "\n".join(lines)))
    addresses = [f"{name} = load_int64(table, {i})" for i, name in enumerate(SLOTS) if name in used]
    reals = [f"{name} = load(reals, {i})" for i, name in enumerate(REALS) if name in used]
    if reals:
        addresses.append(f"reals = load_int64(table, {SLOTS.index('reals')})")
    return filled("\n".join(lines), {"addresses": addresses + reals})


def _places(variant: EPropVariant) -> dict[str, list[str]]:
    rows = [row for row in ROWS if row != "a" or variant.adapts]
    constants = ("keeps", "gain", "left", *(("rho", "beta", "jump") if variant.adapts else ()))
    return {
        "rooms": [
            f"row_{name} = room()"
            for name in ("place", "target", "late", "w", *ROWS, *constants, *_SHOWN, "sent")
        ],
        "take": [f"take(row_{row}, {row}, first, n, spare)" for row in rows],
        "give": [f"give({row}, first, row_{row}, n, spare)" for row in rows],
        "forget": [f"write(row_{row}, i, ZERO)" for row in rows if row != "g"],
        "constants": [f"pick(row_{name}, {name}, row_target)" for name in constants],
        "open": ["pick(row_open, open_ + REAL * at, row_target)"] if variant.wipes else [],
        "eligibility": ADAPTING if variant.adapts else ["my_e = load(row_psi, i) * my_u"],
        "keep_u": ["my_u = my_u * load(row_open, i)"] if variant.wipes else [],
        "update": UPDATE,
    }


_SHOWN = ("psi", "open", "signal")
UPDATE = [
    "for i in range(WIDTH):",
    "    w = load(row_w, i) + load(row_g, i)",
    "    w = select(w >= low, w, low)",
    "    write(row_w, i, select(w <= high, w, high))",
    "    write(row_g, i, ZERO)",
]
ADAPTING = [
    "my_a = load(row_a, i)",
    "my_e = load(row_psi, i) * (my_u - load(row_beta, i) * my_a)",
    "write(row_a, i, load(row_rho, i) * my_a + load(row_jump, i) * my_e)",
]

NOTE = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def note(table, begin, steps, thread):
    """Keep what a thread's receivers show, and their signals."""
    apart()
    $addresses
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    width = 1 + is_each * (targets - 1)
    for step in range(begin, begin + steps):
        row, kept = targets * (step & last_row), targets * (step & last_kept)
        copy(ZERO, psi, kept + start, shown_psi, row + start, stop - start)
        copy(ZERO, open_, kept + start, shown_open, row + start, stop - start)
        for i in range(start, stop):
            level = real(read(float64(0), levels, width * (step & last_row) + i * is_each))
            if shown_rate != 0:
                level += c_rate * (load(shown_rate, row + i) - target_rate)
            write(signal, kept + i, level * factor)
'''

PREPARE = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def prepare(table, begin, steps, thread):
    """Keep the spikes of a thread's senders, and how far the synapses of each have gone."""
    apart()
    $addresses
    if thread == 0:
        write(clock, 0, load_int64(clock, 1))
    start = load_int64(source_ranges, thread) // 32
    many = (load_int64(source_ranges, thread + 1) + 31) // 32 - start
    for step in range(begin, begin + steps):
        to, row = words * (step & last_sent) + start, words * (step & last_row) + start
        copy(int32(0), sent, to, source_spikes, row, many)
    for k in range(length * thread, length * thread + load_int64(counts, APART * thread)):
        spike = load_int64(lists, k)
        source, step = spike & 0xFFFFFFFF, spike >> 32
        write(before_taken, k, read(int32(0), taken, source))
        write(before_lasts, k, read(int32(0), lasts, source))
        write(taken, source, int32(step - shortest))
        write(lasts, source, int32(step))
'''

VISIT = '''
@njit(void(*[int64] * 9), cache=True, error_model="numpy")
def visit(table, thread, source, start, stop, lower, to, last, step):
    """Take a thread's synapses of a sender through the steps ``(lower, to]``.

    Its last spike before was in step ``last``. With ``step`` >= 0 it spikes then, which is sent.
    """
    wide()
    apart()
    $addresses
    spare = room()
    $rooms
    end = greatest(least(to, last + longest + lag + reach), lower)
    kept = found + 8 * (last_sent + 1) * thread
    many = 0
    for s in range(lower - longest - lag + 1, least(last, end - shortest - lag) + 1):
        if load_uint32(sent, words * (s & last_sent) + (source >> 5)) >> (source & 31) & 1:
            write(kept, many, s)
            many += 1
    for first in range(start, stop, WIDTH):
        n = least(WIDTH, stop - first)
        take_place(row_place, place, first, n, spare)
        for i in range(WIDTH):
            at = int64(read(place_number(0), row_place, i))
            # A place may hold a delay too. Exact: 53 bits tell every place from the next one.
            late = int64((float64(at) + 0.5) * read(float64(0), inverse, 0))
            write(row_late, i, int32(delay + late))
            write(row_target, i, int32(select(i < n, at - late * targets, int64(0))))
        take(row_w, weight, first, n, spare)
        $take
        $constants
        oldest = 0
        for t in range(lower + 1, end + 1):
            at = targets * (t & last_kept)
            pick(row_psi, psi + REAL * at, row_target)
            pick(row_signal, signal + REAL * at, row_target)
            $open
            while oldest < many and load_int64(kept, oldest) + longest + lag < t:
                oldest += 1
            for k in range(oldest, many):
                gone = t - lag - load_int64(kept, k)
                if gone < shortest:
                    break
                for i in range(WIDTH):
                    is_now = int64(read(int32(0), row_late, i)) == gone
                    more = select(is_now, load(row_gain, i), ZERO)
                    write(row_j, i, load(row_j, i) + more)
            for i in range(WIDTH):
                my_j = load(row_j, i)
                my_u = load(row_keeps, i) * load(row_u, i) + my_j
                write(row_j, i, load(row_left, i) * my_j)
                $eligibility
                $keep_u
                write(row_u, i, my_u)
                my_e = kappa * load(row_e, i) + my_e
                write(row_e, i, my_e)
                write(row_g, i, load(row_g, i) + load(row_signal, i) * my_e)
            if (t + 1) % every == 0:
                $update
        if to > end:
            for i in range(WIDTH):
                $forget
            if (to + 1) // every > (end + 1) // every:
                $update
        $give
        give(weight, first, row_w, n, spare)
        if step >= 0:
            for i in range(WIDTH):
                write(row_sent, i, ring_number(nearest(load(row_w, i) * scale)))
            for i in range(n):
                at = (step + int64(read(int32(0), row_late, i))) & (slots - 1)
                at = at * targets + int64(read(int32(0), row_target, i))
                add(ring_number(0), ring, at, int64(read(ring_number(0), row_sent, i)))
'''

DELIVER = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def deliver(table, begin, steps, thread):
    """Send the spikes of a block; let all synapses take steps that would be lost."""
    apart()
    $addresses
    settled = load_int64(clock, 0)
    starts = cuts + 8 * sources * thread
    stops = starts + 8 * sources
    for other in range(threads):
        for k in range(length * other, length * other + load_int64(counts, APART * other)):
            spike = load_int64(lists, k)
            source, step = spike & 0xFFFFFFFF, spike >> 32
            start, stop = load_int64(starts, source), load_int64(stops, source)
            lower = greatest(int64(read(int32(0), before_taken, k)), settled)
            last = int64(read(int32(0), before_lasts, k))
            visit(table, thread, source, start, stop, lower, step - shortest, last, step)
    now = begin + steps - 1
    if now - settled + 2 * (last_row + 1) > last_kept:
        for source in range(sources):
            start, stop = load_int64(starts, source), load_int64(stops, source)
            lower = greatest(int64(read(int32(0), taken, source)), settled)
            last = int64(read(int32(0), lasts, source))
            visit(table, thread, source, start, stop, lower, now - shortest, last, -1)
        write(clock, 1, now - shortest)
'''

LOOK = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def look(more, begin, steps, thread):
    """Take the synapses of some senders through the steps up to ``begin``.

    Table: that of the synapses, senders, how many.
    """
    table, rows = load_int64(more, 0), load_int64(more, 1)
    $addresses
    settled = load_int64(clock, 1)
    for k in range(load_int64(more, 2)):
        source = load_int64(rows, k)
        start, stop = load_int64(cuts, source), load_int64(cuts, sources + source)
        lower = greatest(int64(read(int32(0), taken, source)), settled)
        last = int64(read(int32(0), lasts, source))
        visit(table, thread, source, start, stop, lower, begin, last, -1)
'''
