"""numba text of plastic synapses: a rule's lines in the loops of ``plastic_text``."""

import re
from collections.abc import Iterator
from functools import cache

from spikesim.kernels.plastic import ELIGIBILITY, PlasticProgram
from spikesim.kernels.plastic_lines import PlasticVariant, TileLines
from spikesim.kernels.plastic_state import NEWEST
from spikesim.kernels.plastic_text import (
    ARRIVAL,
    ARRIVALS,
    ARRIVE,
    DELIVER,
    HEAR,
    PREPARE,
    REMEMBER,
    SURVEY,
    VISIT,
)
from spikesim.kernels.print_numba import filled, functions
from spikesim.kernels.step_numba import arg, is_number, literal, text
from spikesim.kernels.time_loop_numba import WIDTH


@cache
def slots(program: PlasticProgram) -> tuple[str, ...]:
    """What each entry of the table is; what a rule has not is 0."""
    fading = (*program.pre, *program.post, ELIGIBILITY)
    return (
        *("ranges", "targets", "spikes", "words", "last_row", "sources"),
        *("lists", "length", "counts", "threads", "cuts", "place", "weight"),
        *("eligible", "ring", "slots", "delay", "longest", "numbers", "reals", "inverse"),
        *(
            "newest",
            "steps_kept",
            "totals",
            "depth",
            "used",
            "fullest",
            "published",
            "clock",
            "scratch",
            "at_visit",
            "asked",
        ),
        *("near", "padded", "known", "met", "arrivals", "arrived", "turns"),
        *("lasts", "before_lasts", "sums", "grown", "window"),
        *(f"{part}_{i}" for i in range(len(program.pre)) for part in ("pre", "before_pre")),
        *(
            f"{part}_{i}"
            for i in range(len(program.post))
            for part in ("newest", "after", "before_post", "met", "heard")
        ),
        *(f"{part}_{name}" for name in fading for part in ("fine", "coarse", "end")),
    )


REACH = 1 << 12
"""Steps after which the 16-bit numbers of spikes are counted from a later one."""
REALS = ("low", "high", "scale")
"""What ``reals`` holds before the rests of the traces, those of senders first."""


def plastic_text(program: PlasticProgram, variant: PlasticVariant, stamp: str) -> str:
    """A module that compiles ``remember``, ``prepare``, ``visit`` and ``deliver``."""
    printer = _Printer(program, variant)
    ends = (value for part in program.parts for value in part.after.values())
    lines = (value for part in program.parts for line in part.lines for value in line.args)
    found = sorted({0.0, 1.0, *(v for v in (*ends, *lines) if isinstance(v, float))})
    head = (
        f'"""Plastic synapses, printed for numba; helpers {stamp}."""',
        *_imports(variant),
        f"WIDTH = {WIDTH}",
        f"REAL = {8 if variant.real == 'float64' else 4}",
        f"RING = {8 if variant.ring == 'int64' else 4}",
        f"PLACE = {2 if variant.place == 'uint16' else 4}",
        "SEND, SETTLE, READ, FOLD = range(4)",
        f"NEWEST, REACH = {NEWEST}, {REACH}",
        *(f"{literal(value)} = real('{value}')" for value in found),
    )
    texts = (
        (SURVEY, printer.survey()),
        (REMEMBER, printer.remember()),
        (PREPARE, printer.prepare()),
        *((text, printer.hear()) for text in (ARRIVE, HEAR) if printer.tile.hears_alike),
        (VISIT, printer.visit()),
        (DELIVER, printer.deliver()),
    )
    body = (line for given, places in texts for line in printer.filled(given, places))
    return "\n".join((*head, *body, "")).replace("$delay", printer.tile.delay)


def _imports(variant: PlasticVariant) -> Iterator[str]:
    real, ring = variant.real, variant.ring
    yield "from numba import cfunc, float64, int64, njit, void"
    yield f"from numpy import int32, uint16, uint64, {variant.place} as place_number"
    yield f"from numpy import {ring} as ring_number, {real} as real"
    memory = "from spikesim.kernels.memory_numba import"
    yield f"{memory} apart, least, load_int64, load_uint32, load_uint64, nearest"
    yield f"{memory} prefetch_to_read, read, select, wide, write, load_{real} as load_real"
    place = "float16" if variant.place == "uint16" else "int32"
    tile = "from spikesim.kernels.tile_numba import"
    yield f"{tile} give_int32, room, take_int32, take_{place} as take_place"
    yield f"{tile} give_{real} as give_real, take_{real} as take_real"
    yield "from spikesim.kernels.engine_numba import APART, call, lowest"
    yield "from spikesim.kernels.deliver_numba import AHEAD, add, announce"
    plastic = "from spikesim.kernels.plastic_numba import"
    yield f"{plastic} FINE, above, decay, greatest, lesser, pick_codes"
    yield f"{plastic} pick_float64, pick_int32, pick_{real} as pick_real"
    yield from functions(real, draws=0)


class _Printer:
    """The places of the texts, for one rule."""

    def __init__(self, program: PlasticProgram, variant: PlasticVariant) -> None:
        self.program, self.tile = program, TileLines(program, variant)

    def filled(self, text: str, places: dict[str, list[str]]) -> Iterator[str]:
        """A function that knows, of the entries of the table and of rows, those that it names."""
        none: dict[str, list[str]] = {"addresses": [], "rooms": []}
        names = set(re.findall(r"\w+", "\n".join(filled(text, places | none))))
        known: dict[str, list[str]] = {}
        for place, lines in (("rooms", self.tile.rooms()), ("addresses", self._addresses())):
            known[place] = []
            for line in reversed(list(lines)):
                if line.partition(" = ")[0] in names:
                    known[place].insert(0, line)
                    names.update(re.findall(r"\w+", line))
        return filled(text, places | known)

    def remember(self) -> dict[str, list[str]]:
        program = self.program
        post = list(enumerate(program.post))
        before = [(i, name) for i, name in post if name in program.before_post]
        after = program.jump_post.after
        return {
            "before": [
                self._faded(f"my_{name}", name, f"read(real(0), newest_{i}, NEWEST * target)")
                for i, name in post
            ],
            "jump": [text(line) for line in program.jump_post.lines],
            "shift": [f"write(newest_{i}, at, read(real(0), newest_{i}, at - 1))" for i, _ in post],
            "arrival": self._arrival(),
            "put": [
                *(
                    f"write({array}_{i}, {at}, real({arg(after.get(name, name))}))"
                    for i, name in post
                    for array, at in (("newest", "NEWEST * target"), ("after", "to"))
                ),
                *(f"write(before_post_{i}, to, my_{name})" for i, name in before),
            ],
        }

    def prepare(self) -> dict[str, list[str]]:
        after, pre = self.program.jump_pre.after, list(enumerate(self.program.pre))
        lines = []
        for i, name in pre:
            lines.append(f"old_{name} = read(real(0), pre_{i}, source)")
            lines.append(f"write(before_pre_{i}, k, old_{name})")
            lines.append(self._faded(f"my_{name}", name, f"old_{name}"))
        lines += [text(line) for line in self.program.jump_pre.lines]
        for i, name in pre:
            lines.append(f"write(pre_{i}, source, real({arg(after.get(name, name))}))")
        return {"senders": lines}

    def survey(self) -> dict[str, list[str]]:
        arrivals = {"arrival": self._arrival(), "met": self._met()}
        alike = list(filled(ARRIVALS, arrivals)) if self.tile.hears_alike else []
        return {"arrivals": alike}

    def hear(self) -> dict[str, list[str]]:
        return {
            "met": self._met(),
            "heard": list(self.tile.hear()),
        }

    def _arrival(self) -> list[str]:
        return ARRIVAL.splitlines() if self.tile.hears_alike else []

    def _met(self) -> list[str]:
        return [f"write(met_{i}, target, read(real(0), after_{i}, at))" for i, _ in self.tile.heard]

    def visit(self) -> dict[str, list[str]]:
        program = self.program
        senders = []
        for i, name in enumerate(program.pre):
            before = f"read(real(0), before_pre_{i}, k)"
            senders += [
                f"old_{name} = read(real(0), pre_{i}, source)",
                "if mode == SEND:",
                f"    old_{name} = {before}",
                self._faded(f"now_{name}", name, f"old_{name}"),
            ]
        has_e = program.has_eligibility
        since = "least(lower, greatest(last, step - step % window))" if has_e else "lower"
        return {
            "survey": [
                "if mode == SEND and load_int64(known, APART * thread) < 0:",
                "    survey(table, begin, thread)",
            ]
            if program.looks_back
            else [],
            "hear": ["hear(table, step, thread)"] if self.tile.hears_alike else ["pass"],
            "near": [f"is_near = is_known and {since} >= oldest + longest"],
            "announce": ["announce(eligible, start, stop, REAL)"] if has_e else [],
            "senders": senders,
            "load": list(self.tile.load()),
            "replay": list(self.tile.replay()),
            "receivers": list(self.tile.receivers()),
            "bring": list(self.tile.bring()),
            "act": list(self.tile.act()),
            "send": list(self.tile.send()),
            "give": list(self.tile.give()) or ["continue"],
        }

    def deliver(self) -> dict[str, list[str]]:
        fold = ["if (now + 1) % window == 0:", "    mode = FOLD"]
        return {
            "arrive": ["arrive(table, now + 1, thread)"] if self.tile.hears_alike else [],
            "fold": fold if self.program.has_eligibility else [],
        }

    def _addresses(self) -> Iterator[str]:
        """Names for the entries of the table, and for the numbers."""
        for i, name in enumerate(slots(self.program)):
            yield f"{name} = load_int64(table, {i})"
        yield "inverse_targets = read(float64(0), inverse, 0)"
        read = {a for part in self.program.parts for line in part.lines for a in line.args}
        for name in sorted(str(a) for a in read if is_number(a)):
            yield f"{name} = load_real(numbers, {name[1:]})"
        rests = (f"rest_{name}" for name in (*self.program.pre, *self.program.post))
        for i, name in enumerate((*REALS, *rests)):
            yield f"{name} = load_real(reals, {i})"

    def _faded(self, to: str, name: str, old: str) -> str:
        """A trace ``gone`` steps after its jump, of one neuron."""
        left = f"decay(real(0), fine_{name}, coarse_{name}, end_{name}, gone)"
        return f"{to} = rest_{name} + ({old} - rest_{name}) * {left}"
