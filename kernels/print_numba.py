"""numba text of a program: a module with one kernel, forward or backward.

A kernel ``run(table, start, stop, scratch)`` takes the neurons ``[start, stop)`` through all steps,
a block at a time, so that their states stay in the nearest cache; the innermost loop is over
neighbouring neurons and becomes vector instructions. ``table`` holds sizes and addresses in the
order of :func:`slots`. Names of a neuron get the prefix ``my_``: it may call a parameter ``table``.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from spikesim.kernels.call import EVERY
from spikesim.kernels.program import Program
from spikesim.kernels.tape import COMPARISONS, Argument, Line
from spikesim.kernels.time_loop_numba import BACKWARD, FORWARD

OPERATIONS: dict[str, str] = {
    **{symbol: f"{{0}} {symbol} {{1}}" for symbol in ("+", "-", "*", "/", *COMPARISONS)},
    "neg": "-{0}",
    "where": "select({0}, {1}, {2})",
    "minimum": "select({0} <= {1}, {0}, {1})",
    "maximum": "select({0} >= {1}, {0}, {1})",
    "absolute": "abs({0})",
    "round_": "nearest({0})",
    "exp": "exp_({0})",
    "log": "log_({0})",
    "tanh": "tanh_({0})",
    "spike": "select({0} >= ZERO, ONE, ZERO)",
    "detach": "{0}",
}
DRAWS = {"bernoulli": "select(uniform({1}) < {0}, ONE, ZERO)", "noise": "real(normal({1}))"}
"""Operations on the words of a draw."""


@dataclass(frozen=True)
class Variant:
    """What of a call is fixed when the text is printed."""

    is_forward: bool
    storage: str
    """dtype of inputs and outputs: ``"float32"``, ``"float64"``, ``"float16"``, ``"bfloat16"``."""
    spikes: str = "storage"
    """What the output is written as: ``"storage"``, ``"uint8"`` or ``"bits"``."""
    numbers: tuple[str, ...] = ()
    """Those of :attr:`~spikesim.kernels.program.Program.dividends` that are one number."""

    @property
    def real(self) -> str:
        """dtype of the arithmetic."""
        return "float64" if self.storage == "float64" else "float32"


@cache
def slots(program: Program, is_forward: bool) -> tuple[str, ...]:
    """What each entry of a kernel's table is; an array that is not there has the address 0.

    Arrays are numbered as the program lists them; operands are parameters, then initial states.
    """
    inputs, states = range(len(program.inputs)), range(len(program.states))
    operands = range(len(program.parameters) + len(states))
    shared = (
        *("steps", "neurons", "numbers", "checkpoints"),
        *("position", "layer", "sample_size", "channels"),
        *(f"input_{i}" for i in inputs),
        *(f"{part}_{i}" for i in operands for part in ("array", "inner", "size")),
        *("output", *(f"final_{i}" for i in states), *(f"trace_{i}" for i in states)),
    )
    if is_forward:
        return shared
    # Of output, final states and traces there are the incoming cotangents here.
    written = (*(f"d_input_{i}" for i in inputs), *(f"d_initial_{i}" for i in states))
    return (*shared, *written, "partials")


@cache
def rows(program: Program, is_forward: bool) -> int:
    """Rows of scratch memory, each with a number for every neuron of a block."""
    return _first_spare(program, is_forward) + (3 if program.draws else 1)


def _first_spare(program: Program, is_forward: bool) -> int:
    """The row of the flags of packed spikes; after it, whom to draw random numbers for."""
    states = len(program.states)
    if not is_forward:
        states = states * (EVERY + 1) + len(program.wanted)
    return len(program.parameters) + states


@cache
def block(program: Program, is_forward: bool) -> int:
    """Neurons of a block; their rows are to fit a cache of 32 KiB."""
    size = 512
    while size > 128 and 4 * size * rows(program, is_forward) > 32768:
        size //= 2
    return size


def numba_text(program: Program, variant: Variant, stamp: str) -> str:
    """A module that compiles its ``run`` when it is imported.

    Args:
        program: the step.
        variant: how its arrays lie.
        stamp: the version of the modules that the text imports.
    """
    if variant.is_forward:
        loop, places = FORWARD, _forward(program, variant)
    else:
        loop, places = BACKWARD, _backward(program, variant)
    places["addresses"] = list(_addresses(program, variant))
    whom = "place(elements, samples, first, n, sample_size, channels)"
    places["whom"] = [whom] if program.draws else []
    head = (
        f'"""The step of a neuron over time, printed for numba; helpers {stamp}."""',
        *_imports(program, variant),
        *(f"{name} = {value}" for name, value in _constants(program, variant).items()),
        *(f"{_literal(value)} = real('{value}')" for value in _literals(program)),
    )
    return "\n".join((*head, "", *_filled(loop, places), ""))


def _imports(program: Program, variant: Variant) -> Iterator[str]:
    storage, real = variant.storage, variant.real
    output = f"store_{storage}" if variant.spikes == "storage" else f"store_count_{real}"
    memory = "from spikesim.kernels.memory_numba import"
    yield "from numba import int64, njit, void"
    yield f"from numpy import uint64, {real} as real"
    yield f"{memory} copy, hidden, least, load_uint32, load_uint64, nearest, select, wide"
    yield f"{memory} load_{storage} as load, store_{storage} as store, {output} as store_output"
    yield f"{memory} load_{real} as load_real, store_{real} as store_real"
    yield "from spikesim.kernels.rows_numba import add, announce_reads, announce_writes"
    yield "from spikesim.kernels.rows_numba import fill, pack, place"
    if real == "float64":
        yield "from math import exp as exp_, log as log_, tanh as tanh_"
    else:
        yield "from spikesim.kernels.maths_numba import exp_, log_, tanh_"
    if program.draws:
        yield "from spikesim.kernels.philox_numba import normal, philox, uniform"


def _literals(program: Program) -> list[float]:
    """The numbers in the text."""
    lines = (*program.lines, *program.reverse)
    ends = (*program.after.values(), *program.cotangents.values())
    found = (*(arg for line in lines for arg in line.args), *ends)
    return sorted({0.0, 1.0, *(arg for arg in found if isinstance(arg, float))})


def _literal(value: float) -> str:
    names = {0.0: "ZERO", 1.0: "ONE"}
    return names.get(value) or "NUMBER_" + re.sub(r"\W", "_", repr(value))


def _constants(program: Program, variant: Variant) -> dict[str, int]:
    size, states = block(program, variant.is_forward), len(program.states)
    return {
        "BLOCK": size,
        "ROW": size * (8 if variant.real == "float64" else 4),
        "STORED": {"float64": 8, "float32": 4}.get(variant.storage, 2),
        "EVERY": EVERY,
        "PARAMETERS": len(program.parameters),
        "STATES": states,
        "SUMS": len(program.wanted),
        "SPARE": _first_spare(program, variant.is_forward),
        "OPERANDS": 8 + len(program.inputs),
    }


def _addresses(program: Program, variant: Variant) -> Iterator[str]:
    """Names for the entries of the table, but for operands, and for the numbers."""
    for i, name in enumerate(slots(program, variant.is_forward)):
        if not re.match("array|inner|size", name):
            yield f"{name} = table[{i}]"
    lines = (*program.lines, *program.reverse)
    for name in sorted({str(a) for line in lines for a in line.args if is_number(a)}):
        yield f"{name} = load_real(numbers, {name[1:]})"
    if program.draws:
        yield "elements, samples = flags + ROW, flags + 2 * ROW"
        yield "key = load_uint64(position, 0)"
        yield "first_sample, first_step = load_uint64(position, 1), load_uint64(position, 2)"


def _forward(program: Program, variant: Variant) -> dict[str, list[str]]:
    """What stands at the places of the forward text."""
    states = range(len(program.states))
    is_bits = variant.spikes == "bits"
    words = "output + (neurons + 31) // 32 * 4 * t + first // 8"
    target = "flags, i" if is_bits else "output, base + i"
    step = [
        *_reads(program, "states"),
        *_step(program, program.lines, variant.numbers),
        f"store_output({target}, {_arg(program.after['output'])})",
        *_stores([_arg(program.after[name]) for name in program.states], "states"),
    ]
    keep = [
        f"copy(ZERO, checkpoints, saved + {i} * neurons, states, {i} * BLOCK, n)" for i in states
    ]
    traces = [f"copy(ZERO, trace_{i}, base, states, {i} * BLOCK, n)" for i in states]
    return {
        "announce": [
            *_announced("reads", (f"input_{i}" for i in range(len(program.inputs)))),
            *_announced("writes", ["output"] if variant.spikes == "storage" else []),
        ],
        "save": keep or ["pass"],
        "step": step,
        "after": [*traces, *([f"pack(flags, n, {words})"] if is_bits else [])],
        "end": [f"copy(ZERO, final_{i}, first, states, {i} * BLOCK, n)" for i in states],
    }


def _backward(program: Program, variant: Variant) -> dict[str, list[str]]:
    """What stands at the places of the backward text."""
    states, ends = range(len(program.states)), program.cotangents
    inputs = [f"input_{i}" for i in range(len(program.inputs))]
    after = [program.after[name] for name in program.states]
    known = needed((*program.lines, *program.reverse), ends.values())
    lines = [line for line in known if line in program.lines]
    sums = [f"sum_{i}" for i in range(len(program.wanted))]
    back = [
        *_reads(program, "now"),
        "my_d_output = load(output, base + i)",
        *_loads([*(_arg(f"d_{name}") for name in program.states), *sums], "cotangents"),
        *_step(program, lines, variant.numbers),
        *(_text(line) for line in known[len(lines) :]),
        *(f"store(d_input_{i}, base + i, {_arg(ends[x])})" for i, x in enumerate(program.inputs)),
        *(f"{total} += {_arg(ends[x])}" for total, x in zip(sums, program.wanted, strict=True)),
        *_stores([*(_arg(ends[name]) for name in program.states), *sums], "cotangents"),
    ]
    load = [
        f"copy(ZERO, states, {i} * BLOCK, checkpoints, saved + {i} * neurons, n)" for i in states
    ]
    results = [
        *(f"copy(ZERO, d_initial_{i}, first, cotangents, {i} * BLOCK, n)" for i in states),
        *(
            f"copy(ZERO, partials, {i} * neurons + first, cotangents, {len(states) + i} * BLOCK, n)"
            for i in range(len(sums))
        ),
    ]
    return {
        "begin": [f"copy(ZERO, cotangents, {i} * BLOCK, final_{i}, first, n)" for i in states],
        "load": load or ["pass"],
        "announce": _announced("reads", inputs),
        "announce_back": [
            *_announced("reads", ["output"]),
            *_announced("writes", (f"d_{name}" for name in inputs)),
        ],
        "step": [
            *_reads(program, "now"),
            *_step(program, needed(program.lines, after), variant.numbers),
            *_stores(map(_arg, after), "now + ROW * STATES"),
        ],
        "add": [f"add(ZERO, cotangents + {i} * ROW, trace_{i}, base, n)" for i in states],
        "back": back,
        "end": results,
    }


def needed(lines: Iterable[Line], ends: Iterable[Argument]) -> list[Line]:
    """Those lines that ``ends`` depend on."""
    names, kept = set(ends), []
    for line in reversed(list(lines)):
        if line.name in names:
            names |= set(line.args)
            kept.append(line)
    return kept[::-1]


def _announced(what: str, arrays: Iterable[str]) -> list[str]:
    """What a coming step reads or writes."""
    return [f"announce_{what}({name} + STORED * ahead, STORED * n)" for name in arrays]


def _reads(program: Program, states: str) -> Iterator[str]:
    for i, name in enumerate(program.inputs):
        yield f"{_arg(name)} = load(input_{i}, base + i)"
    yield from _loads(map(_arg, program.parameters), "scratch")
    yield from _loads(map(_arg, program.states), states)


def _loads(names: Iterable[str], start: str) -> Iterator[str]:
    for row, name in enumerate(names):
        yield f"{name} = load_real({start}, {row} * BLOCK + i)"


def _stores(values: Iterable[str], start: str) -> Iterator[str]:
    for row, value in enumerate(values):
        yield f"store_real({start}, {row} * BLOCK + i, {value})"


def _step(program: Program, lines: Iterable[Line], numbers: Collection[str]) -> Iterator[str]:
    """Forward lines, which compute what torch computes, with random numbers as they are drawn."""
    drawn = [line.name for line in program.lines if line.op in DRAWS]
    blocks: set[int] = set()
    for line in lines:
        left = line.args[0]
        if line.name in drawn:
            number = drawn.index(line.name)
            words = [f"w{number // 2}_{k}" for k in range(4)]
            if number // 2 not in blocks:
                blocks.add(number // 2)
                yield (
                    f"{', '.join(words)} = philox(key, key >> uint64(32), load_uint32(elements, i),"
                    " first_sample + load_uint32(samples, i), first_step + uint64(t),"
                    f" (layer << 8) + {number // 2})"
                )
            pair = ", ".join(words[2 * (number % 2) :][:2])
            yield f"{line.name} = {DRAWS[line.op].format(_arg(left), pair)}"
        elif line.op == "/" and (isinstance(left, float) or left in numbers or is_number(left)):
            # torch computes number / array as the array's reciprocal times the number.
            yield f"{line.name} = ONE / {_arg(line.args[1])} * {_arg(left)}"
        else:
            yield _text(line)


def _text(line: Line) -> str:
    return f"{line.name} = {OPERATIONS[line.op].format(*map(_arg, line.args))}"


def _arg(arg: Argument) -> str:
    if isinstance(arg, float):
        return _literal(arg)
    return str(arg) if re.fullmatch(r"[tc]\d+", str(arg)) else f"my_{arg}"


def is_number(arg: Argument) -> bool:
    """Whether an argument is one of the program's numbers ``c0``, ``c1``, ..."""
    return re.fullmatch(r"c\d+", str(arg)) is not None


def _filled(text: str, places: Mapping[str, list[str]]) -> Iterator[str]:
    """The text with what stands at its places, indented as they are."""
    for line in text.splitlines():
        place = re.fullmatch(r"( *)\$(\w+)", line)
        if place is None:
            yield line
        else:
            yield from (place[1] + inside for inside in places[place[2]])
