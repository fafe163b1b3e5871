"""numba text of a program: a module with one kernel, forward or backward.

A kernel ``run(table, start, stop, scratch)`` takes the neurons ``[start, stop)`` through all steps,
a tile at a time, so that their states stay in registers; the innermost loop is over neighbouring
neurons and becomes vector instructions. ``table`` holds sizes and addresses in the order of
:func:`slots`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from spikesim.kernels.call import EVERY
from spikesim.kernels.program import Program
from spikesim.kernels.step_numba import is_number, literal, literals
from spikesim.kernels.time_loop_numba import (
    AHEAD,
    BACKWARD,
    BLOCK,
    FORWARD,
    WIDTH,
    backward,
    forward,
)


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


def scratch(program: Program, is_forward: bool) -> int:
    """Numbers of scratch memory that a kernel needs."""
    kept = 0 if is_forward else EVERY * len(program.kept)
    return BLOCK * _spare(program) + WIDTH * (1 + kept)


def _spare(program: Program) -> int:
    """The row after those of parameters, initial states, and whom to draw random numbers for."""
    return len(program.parameters) + len(program.states) + 2 * (program.draws > 0)


def numba_text(program: Program, variant: Variant, stamp: str) -> str:
    """A module that compiles its ``run`` when it is imported.

    Args:
        program: the step.
        variant: how its arrays lie.
        stamp: the version of the modules that the text imports.
    """
    if variant.is_forward:
        loop, places = FORWARD, forward(program, variant.spikes, variant.numbers)
    else:
        loop, places = BACKWARD, backward(program, variant.numbers)
    places["addresses"] = list(_addresses(program, variant))
    whom = "place(elements, samples, first, many, sample_size, channels)"
    places["whom"] = [whom] if program.draws else []
    head = (
        f'"""The step of a neuron over time, printed for numba; helpers {stamp}."""',
        *_imports(program, variant),
        *(f"{name} = {value}" for name, value in _constants(program, variant).items()),
        *(f"{literal(value)} = real('{value}')" for value in literals(program)),
    )
    return "\n".join((*head, "", *filled(loop, places), ""))


def _imports(program: Program, variant: Variant) -> Iterator[str]:
    storage, real = variant.storage, variant.real
    output = f"store_{storage}" if variant.spikes == "storage" else f"store_count_{real}"
    memory = "from spikesim.kernels.memory_numba import"
    yield "from numba import int64, njit, void"
    yield f"from numpy import uint64, {real} as real"
    yield f"{memory} least, load_uint32, load_uint64, nearest, select, wide"
    yield f"{memory} load_{storage} as load, store_{storage} as store, {output} as store_output"
    yield f"{memory} load_{real} as load_real, store_{real} as store_real"
    tile = "from spikesim.kernels.tile_numba import"
    spikes = variant.storage if variant.spikes == "storage" else "uint8"
    yield f"{tile} give_{spikes} as give_output, room"
    yield f"{tile} give_{storage} as give, take_{storage} as take"
    yield f"{tile} give_{real} as give_real, move_{real} as move_real, take_{real} as take_real"
    yield "from spikesim.kernels.rows_numba import announce_reads, announce_writes"
    yield "from spikesim.kernels.rows_numba import fill, pack, place"
    yield from functions(real, draws=program.draws)


def _constants(program: Program, variant: Variant) -> dict[str, str]:
    size = 8 if variant.real == "float64" else 4
    return {
        "BLOCK": f"{BLOCK}",
        "WIDTH": f"{WIDTH}",
        "REAL": f"{size}",
        "ROW": f"{BLOCK * size}",
        "TILE": f"WIDTH * {size}",
        "STORED": f"{ {'float64': 8, 'float32': 4}.get(variant.storage, 2) }",
        "EVERY": f"{EVERY}",
        "AHEAD": f"{AHEAD}",
        "PARAMETERS": f"{len(program.parameters)}",
        "STATES": f"{len(program.states)}",
        "KEPT": f"{len(program.kept)}",
        "SPARE": f"{_spare(program)}",
        "OPERANDS": f"{8 + len(program.inputs)}",
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
        yield "elements, samples = spare - 2 * ROW, spare - ROW"
        yield "key = load_uint64(position, 0)"
        yield "first_sample, first_step = load_uint64(position, 1), load_uint64(position, 2)"


def functions(real: str, *, draws: int) -> Iterator[str]:
    """Imports of what the printed lines of a step call.

    Args:
        real: dtype of the arithmetic.
        draws: how many random numbers they draw.
    """
    if real == "float64":
        yield "from math import exp as exp_, log as log_, tanh as tanh_"
    else:
        yield "from spikesim.kernels.maths_numba import exp_, log_, tanh_"
    if draws:
        yield "from spikesim.kernels.philox_numba import normal, philox, uniform"


def filled(text: str, places: Mapping[str, list[str]]) -> Iterator[str]:
    """The text with what stands at its places, indented as they are."""
    for line in text.splitlines():
        place = re.fullmatch(r"( *)\$(\w+)", line)
        if place is None:
            yield line
        else:
            yield from (place[1] + inside for inside in places[place[2]])
