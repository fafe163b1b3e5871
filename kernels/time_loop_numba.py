"""The loops around a step, as numba text with places, and what stands there.

A place is a line ``$name``. Names in capitals are constants above the text; see
:mod:`spikesim.kernels.print_numba`. A tile of ``WIDTH`` neurons goes through all steps at a time,
in rows on the stack that become registers: loops over a row know its length when they are compiled.
Scratch memory holds parameters and initial states of ``BLOCK`` neurons, a row for each; then
``spare``, through which incomplete tiles go, and the values that backward keeps.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from spikesim.kernels.program import Program
from spikesim.kernels.step_numba import arg, needed, step, text
from spikesim.kernels.tape import COMPARISONS

WIDTH = 64
"""Neurons of a tile: four of the widest vectors of float32, so that none waits for another."""

BLOCK = 512
"""Neurons whose parameters and initial states are laid out at a time."""

AHEAD = 4
"""Steps between the announcement of a row and its use, where they are at hand."""

FORWARD = '''
@njit([void(int64[::1], int64, int64, int64)], cache=True, nogil=True, error_model="numpy")
def run(table, start, stop, scratch):
    """Take the neurons from start to stop through all steps."""
    wide()
    spare = scratch + ROW * SPARE
    $rows
    $addresses
    far = least(AHEAD, steps)
    for first in range(start, stop, BLOCK):
        many = least(BLOCK, stop - first)
        $whom
        for r in range(PARAMETERS + STATES):
            k = OPERANDS + 3 * r
            fill(ZERO, scratch + ROW * r, table[k], table[k + 1], table[k + 2], first, many)
        for inside in range(0, many, WIDTH):
            n = least(WIDTH, many - inside)
            $start
            $initial
            for t in range(steps):
                base = t * neurons + first + inside
                if t and t % EVERY == 0:
                    saved = (t // EVERY - 1) * STATES * neurons + first + inside
                    $save
                ahead = base + far * neurons
                if t + far >= steps:
                    ahead += WIDTH - steps * neurons
                $announce
                $read
                for i in range(WIDTH):
                    $step
                $after
            $end
'''

BACKWARD = '''
@njit([void(int64[::1], int64, int64, int64)], cache=True, nogil=True, error_model="numpy")
def run(table, start, stop, scratch):
    """Take the neurons from start to stop through all steps, the last segment first."""
    wide()
    spare = scratch + ROW * SPARE
    kept = spare + TILE
    $rows
    $addresses
    last = (steps - 1) // EVERY
    for first in range(start, stop, BLOCK):
        many = least(BLOCK, stop - first)
        $whom
        for r in range(PARAMETERS + STATES):
            k = OPERANDS + 3 * r
            fill(ZERO, scratch + ROW * r, table[k], table[k + 1], table[k + 2], first, many)
        for inside in range(0, many, WIDTH):
            n = least(WIDTH, many - inside)
            $start
            for segment in range(last, -1, -1):
                if segment:
                    saved = (segment - 1) * STATES * neurons + first + inside
                    $load
                else:
                    $initial
                low = segment * EVERY
                high = least(low + EVERY, steps)
                for t in range(low, high):
                    base = t * neurons + first + inside
                    now = kept + TILE * KEPT * (t - low)
                    $announce
                    $read
                    for i in range(WIDTH):
                        $step
                    $keep
                for t in range(high - 1, low - 1, -1):
                    base = t * neurons + first + inside
                    now = kept + TILE * KEPT * (t - low)
                    # A step of the segment that comes next, which may be the next tile's first.
                    soon = t - EVERY if segment else t + last * EVERY
                    if soon < steps:
                        ahead = soon * neurons + first + inside + (0 if segment else WIDTH)
                        $announce_reads
                    if t >= AHEAD:
                        ahead = base - AHEAD * neurons
                        $announce_writes
                    $recall
                    for i in range(WIDTH):
                        $back
                    $give
            $end
'''


def forward(program: Program, spikes: str, numbers: Collection[str]) -> dict[str, list[str]]:
    """What stands at the places of the forward text; see ``Variant``."""
    states, count = [arg(name) for name in program.states], range(len(program.states))
    inputs, parameters = _inputs(program), list(map(arg, program.parameters))
    after = [arg(program.after[name]) for name in program.states]
    words = "output + (neurons + 31) // 32 * 4 * t + (first + inside) // 8"
    give = {"bits": f"pack(row_output, n, {words})"}
    written = ["output"] if spikes == "storage" else []
    return {
        "rows": _rooms([*inputs, *parameters, *states, "output"]),
        "start": _laid_out(parameters, 0),
        "initial": _laid_out(states, len(parameters)),
        "save": _given(states, (f"checkpoints, saved + {i} * neurons" for i in count)) or ["pass"],
        "announce": [
            *_announced("reads", inputs.values(), "ahead"),
            *_announced("writes", written, "ahead"),
        ],
        "read": _read(inputs),
        "step": [
            *(f"{name} = load(row_{name}, i)" for name in inputs),
            *_loads([*parameters, *states]),
            *step(program, program.lines, numbers),
            f"store_output(row_output, i, {arg(program.after['output'])})",
            *_stores(zip(states, after, strict=True)),
        ],
        "after": [
            give.get(spikes, "give_output(output, base, row_output, n, spare)"),
            *_given(states, (f"trace_{i}, base" for i in count)),
        ],
        "end": _given(states, (f"final_{i}, first + inside" for i in count)),
    }


def backward(program: Program, numbers: Collection[str]) -> dict[str, list[str]]:
    """What stands at the places of the backward text; see ``Variant``."""
    states, count = [arg(name) for name in program.states], range(len(program.states))
    inputs, parameters = _inputs(program), list(map(arg, program.parameters))
    after, ends = [program.after[name] for name in program.states], program.cotangents
    kept = [f"kept_{i}" for i in range(len(program.kept))]
    truths = {line.name for line in program.lines if line.op in COMPARISONS}
    cotangents = [arg(f"d_{name}") for name in program.states]
    traces = [f"d_trace_{i}" for i in count]
    sums = [f"sum_{i}" for i in range(len(program.wanted))]
    d_inputs = [f"d_{array}" for array in inputs.values()]
    rows = [
        *inputs,
        *parameters,
        *states,
        *kept,
        "d_output",
        *cotangents,
        *traces,
        *sums,
        *d_inputs,
    ]
    return {
        "rows": _rooms(rows),
        "start": [
            *_laid_out(parameters, 0),
            *_taken(cotangents, (f"final_{i}, first + inside" for i in count)),
            *_taken(sums, ["0, 0"] * len(sums)),
        ],
        "initial": _laid_out(states, len(parameters)) or ["pass"],
        "load": _taken(states, (f"checkpoints, saved + {i} * neurons" for i in count)) or ["pass"],
        "announce": _announced("reads", ["output"], "base"),
        "read": _read(inputs),
        "step": [
            *(f"{name} = load(row_{name}, i)" for name in inputs),
            *_loads([*parameters, *states]),
            *step(program, needed(program.lines, [*after, *program.kept]), numbers),
            *_stores(zip(states, map(arg, after), strict=True)),
            *_stores(
                (row, f"select({arg(name)}, ONE, ZERO)" if name in truths else arg(name))
                for row, name in zip(kept, program.kept, strict=True)
            ),
        ],
        "keep": [f"move_real(now + TILE * {i}, row_{row})" for i, row in enumerate(kept)],
        "announce_reads": _announced("reads", inputs.values(), "ahead"),
        "announce_writes": _announced("writes", d_inputs, "ahead"),
        "recall": [
            *(f"move_real(row_{row}, now + TILE * {i})" for i, row in enumerate(kept)),
            "take(row_d_output, output, base, n, spare)",
            *_taken(traces, (f"trace_{i}, base" for i in count)),
        ],
        "back": [
            *(
                f"{arg(name)} = load_real(row_{row}, i)" + " != ZERO" * (name in truths)
                for row, name in zip(kept, program.kept, strict=True)
            ),
            "my_d_output = load(row_d_output, i)",
            *_loads([*parameters, *cotangents, *traces, *sums]),
            *(f"{name} += {trace}" for name, trace in zip(cotangents, traces, strict=True)),
            *step(program, program.again, numbers),
            *map(text, program.reverse),
            *(
                f"store(row_{row}, i, {arg(ends[name])})"
                for row, name in zip(d_inputs, program.inputs, strict=True)
            ),
            *_stores(
                (d, arg(ends[name])) for d, name in zip(cotangents, program.states, strict=True)
            ),
            *_stores(
                (total, f"{total} + {arg(ends[name])}")
                for total, name in zip(sums, program.wanted, strict=True)
            ),
        ],
        "give": [f"give({array}, base, row_{array}, n, spare)" for array in d_inputs],
        "end": [
            *_given(cotangents, (f"d_initial_{i}, first + inside" for i in count)),
            *_given(sums, (f"partials, {i} * neurons + first + inside" for i in range(len(sums)))),
        ],
    }


def _inputs(program: Program) -> dict[str, str]:
    """The names of the inputs, and of their arrays."""
    return {arg(name): f"input_{i}" for i, name in enumerate(program.inputs)}


def _rooms(rows: Iterable[str]) -> list[str]:
    return [f"row_{row} = room()" for row in rows]


def _laid_out(rows: Iterable[str], place: int) -> list[str]:
    """Rows from scratch memory, where they lie from ``place`` on."""
    return [
        f"move_real(row_{row}, scratch + ROW * {place + i} + REAL * inside)"
        for i, row in enumerate(rows)
    ]


def _read(inputs: Mapping[str, str]) -> list[str]:
    return [f"take(row_{name}, {array}, base, n, spare)" for name, array in inputs.items()]


def _taken(rows: Iterable[str], places: Iterable[str]) -> list[str]:
    """Rows from arrays of reals."""
    pairs = zip(rows, places, strict=True)
    return [f"take_real(row_{row}, {place}, n, spare)" for row, place in pairs]


def _given(rows: Iterable[str], places: Iterable[str]) -> list[str]:
    """Rows to arrays of reals."""
    pairs = zip(rows, places, strict=True)
    return [f"give_real({place}, row_{row}, n, spare)" for row, place in pairs]


def _announced(what: str, arrays: Iterable[str], place: str) -> list[str]:
    """What a coming step reads or writes."""
    return [f"announce_{what}({array} + STORED * {place}, STORED * WIDTH)" for array in arrays]


def _loads(names: Iterable[str]) -> Iterator[str]:
    return (f"{name} = load_real(row_{name}, i)" for name in names)


def _stores(values: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (f"store_real(row_{row}, i, {value})" for row, value in values)
