"""numba text of a population's update: a step of its neurons, over a block of steps.

It differs from the loops of :mod:`spikesim.kernels.time_loop_numba` in what goes in and out: inputs
come from rings of whole numbers, which are cleared for later steps, and spikes leave as bits.
States are read from arrays before a block and written back after it. The operation
``run(table, begin, steps, thread)`` finds sizes and addresses in the order of :func:`slots`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from spikesim.kernels.print_numba import filled, functions
from spikesim.kernels.program import Program
from spikesim.kernels.step_numba import arg, is_number, literal, literals, step
from spikesim.kernels.time_loop_numba import WIDTH

ADVANCE = '''
@cfunc(void(int64, int64, int64, int64), cache=True, error_model="numpy")
def run(table, begin, steps, thread):
    """Take the neurons of a thread through a block of steps."""
    wide()
    apart()
    $addresses
    start, stop = load_int64(ranges, thread), load_int64(ranges, thread + 1)
    spare, nothing = room(), room()
    take_ring(nothing, 0, 0, 0, 0)
    $rooms
    for first in range(start, stop, WIDTH):
        n = least(WIDTH, stop - first)
        inside = first
        $load
        for t in range(steps):
            now = begin + t
            row = now & last_row
            $read
            for i in range(WIDTH):
                $step
            give_bits(spikes + 4 * (row * words + first // 32), row_output, n)
            $trace
        $store
'''


@dataclass(frozen=True)
class AdvanceVariant:
    """What of a population is fixed when the text is printed."""

    real: str
    """dtype of states and arithmetic: ``"float32"`` or ``"float64"``."""
    driven: tuple[str, ...]
    """The inputs that have a ring; the others are 0."""
    numbers: tuple[str, ...]
    """The parameters that are one number for all neurons."""

    @property
    def ring(self) -> str:
        """dtype of a ring, which float64 holds exactly for 53 bits."""
        return "int64" if self.real == "float64" else "int32"


@cache
def slots(program: Program, variant: AdvanceVariant) -> tuple[str, ...]:
    """What each entry of the table is; a trace that is not wanted has the address 0.

    ``quanta`` holds the quantum of each driven input, then the parameters that are one number.
    """
    states = range(len(program.states))
    arrays = (name for name in program.parameters if name not in variant.numbers)
    return (
        *("ranges", "neurons", "last_row", "words", "spikes", "numbers", "quanta"),
        *("seed", "stream", "elements", "samples"),
        *(f"{part}_{name}" for name in variant.driven for part in ("ring", "last_slot")),
        *(f"{part}_{i}" for i in states for part in ("state", "trace")),
        *(f"array_{name}" for name in arrays),
    )


def advance_text(program: Program, variant: AdvanceVariant, stamp: str) -> str:
    """A module that compiles its ``run`` when it is imported.

    Args:
        program: the step.
        variant: how its arrays lie.
        stamp: the version of the modules that the text imports.
    """
    constants = {"WIDTH": WIDTH, **{literal(v): f"real('{v}')" for v in literals(program)}}
    head = (
        f'"""The step of a population, printed for numba; helpers {stamp}."""',
        *_imports(program, variant),
        *(f"{name} = {value}" for name, value in constants.items()),
    )
    return "\n".join((*head, "", *filled(ADVANCE, _places(program, variant)), ""))


def _imports(program: Program, variant: AdvanceVariant) -> Iterator[str]:
    real, ring = variant.real, variant.ring
    yield "from numba import cfunc, int64, void"
    yield f"from numpy import uint64, {ring} as ring_number, {real} as real"
    memory = "from spikesim.kernels.memory_numba import"
    yield f"{memory} apart, least, load_int64, load_uint32, nearest, read, select, wide"
    yield f"{memory} load_{real} as load_real, store_{real} as store_real"
    tile = "from spikesim.kernels.tile_numba import"
    yield f"{tile} give_{real} as give_real, take_{real} as take_real, room"
    yield f"{tile} give_{ring} as give_ring, take_{ring} as take_ring"
    yield f"{tile} give_bits_{real} as give_bits"
    yield from functions(real, draws=program.draws)


def _places(program: Program, variant: AdvanceVariant) -> dict[str, list[str]]:
    driven = [arg(name) for name in variant.driven]
    states = [arg(name) for name in program.states]
    arrays = [name for name in program.parameters if name not in variant.numbers]
    after = [arg(program.after[name]) for name in program.states]
    idle = [arg(name) for name in program.inputs if name not in variant.driven]
    dividends = [name for name in program.dividends if name in variant.numbers]
    return {
        "addresses": list(_addresses(program, variant)),
        "rooms": [f"row_{row} = room()" for row in (*driven, *map(arg, arrays), *states, "output")],
        "load": [
            *(
                f"take_real(row_{name}, state_{i}, first, n, spare)"
                for i, name in enumerate(states)
            ),
            *(f"take_real(row_{arg(name)}, array_{name}, first, n, spare)" for name in arrays),
        ],
        "read": [
            line
            for name, row in zip(variant.driven, driven, strict=True)
            for line in (
                f"at_{name} = (now & last_slot_{name}) * neurons + first",
                f"take_ring(row_{row}, ring_{name}, at_{name}, n, spare)",
                f"give_ring(ring_{name}, at_{name}, nothing, n, spare)",
            )
        ],
        "step": [
            *(
                f"{row} = real(read(ring_number(0), row_{row}, i)) * quantum_{name}"
                for name, row in zip(variant.driven, driven, strict=True)
            ),
            *(f"{name} = ZERO" for name in idle),
            *(f"{name} = load_real(row_{name}, i)" for name in (*map(arg, arrays), *states)),
            *step(program, program.lines, dividends),
            f"store_real(row_output, i, {arg(program.after['output'])})",
            *(f"store_real(row_{row}, i, {v})" for row, v in zip(states, after, strict=True)),
        ],
        "trace": [
            f"give_real(trace_{i}, row * neurons + first, row_{name}, n, spare)"
            for i, name in enumerate(states)
        ],
        "store": [
            f"give_real(state_{i}, first, row_{name}, n, spare)" for i, name in enumerate(states)
        ],
    }


def _addresses(program: Program, variant: AdvanceVariant) -> Iterator[str]:
    """Names for the entries of the table, and for the numbers."""
    for i, name in enumerate(slots(program, variant)):
        yield f"{name} = load_int64(table, {i})"
    literal_numbers = {str(a) for line in program.lines for a in line.args if is_number(a)}
    for name in sorted(literal_numbers):
        yield f"{name} = load_real(numbers, {name[1:]})"
    numbers = (*(f"quantum_{name}" for name in variant.driven), *map(arg, variant.numbers))
    for i, name in enumerate(numbers):
        yield f"{name} = load_real(quanta, {i})"
    if program.draws:
        yield "key, layer = uint64(seed), stream"
        yield "first_sample, first_step = uint64(0), uint64(begin)"
