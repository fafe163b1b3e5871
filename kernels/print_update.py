"""CUDA text of a network: a step of the neurons of one program, and what moves their spikes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from spikesim.kernels.print_cuda import Variant, cuda_file, step_text
from spikesim.kernels.program import Program

THREADS = 128
"""Of a block. A population is filled up to whole blocks."""
MOST_SHARED = 6
"""A segment of synapses is shared by up to ``2 ** MOST_SHARED`` warps."""
GROUPS = 2
"""Of 4 synapses, that a thread loads at once."""


@dataclass(frozen=True)
class UpdateVariant:
    """What of the populations that one kernel updates is fixed when its text is printed."""

    real: str
    """dtype of states and arithmetic: ``"float32"`` or ``"float64"``."""
    driven: tuple[str, ...]
    """The inputs that anything reaches; the others are 0."""
    ringed: tuple[str, ...]
    """Those of them that have a ring."""
    arrays: tuple[str, ...]
    """The parameters with a value for each neuron; the others have one for each population."""
    divided: tuple[str, ...]
    """Parameters that are one number and divided by something, which torch rounds differently."""
    drives: int
    """What is drawn or given for a population, at most."""
    width: int = THREADS
    """Neurons of a block, a multiple of its threads, which take them in turns."""


def constants(program: Program, variant: UpdateVariant, numbers: int) -> int:
    """How many numbers a population has: quanta, parameters, literals, in this order."""
    return len(program.inputs) + len(program.parameters) - len(variant.arrays) + numbers


def update_text(program: Program, variant: UpdateVariant, numbers: int) -> str:
    """Text of the kernel ``update``; its argument is the struct ``Update``."""
    driven, ringed = (
        sum((name in names) << i for i, name in enumerate(program.inputs))
        for names in (variant.driven, variant.ringed)
    )
    defines = {
        "WIDTH": variant.width,
        "DRIVES": variant.drives,
        "DRIVEN": driven,
        "RINGED": ringed,
        "CONSTANTS": constants(program, variant, numbers),
        "INPUTS": len(program.inputs),
        "STATES": len(program.states),
        "PARAMETERS": len(program.parameters),
        "NUMBERS": numbers,
        "WANTED": len(program.wanted),
        "KEPT": len(program.kept),
        "DRAWS": program.draws,
    }
    return engine_text(
        variant.real,
        defines,
        cuda_file("maths.cuh"),
        cuda_file("philox.cuh"),
        step_text(program, Variant(variant.real, 1, 1, False, one_number=variant.divided)),
        "\n".join(_look_up(program, variant, numbers)),
        cuda_file("engine_update.cuh"),
    )


def deliver_text(real: str, layers: int) -> str:
    """Text of the kernels ``deliver``, to so many layers at once, ``give``, ``watch``, ``tick``."""
    defines = {"LAYERS": layers, "MOST_SHARED": MOST_SHARED, "GROUPS": GROUPS}
    return engine_text(real, defines, cuda_file("engine_deliver.cuh"))


def merge_text(real: str) -> str:
    """Text of the kernel ``merge``."""
    return engine_text(real, {}, cuda_file("engine_merge.cuh"))


TYPES = {
    "float32": ("float", "int", "unsigned"),
    "float64": ("double", "long long", "unsigned long long"),
}
"""Of states, of what sums count, and the same without a sign."""


def engine_text(real: str, defines: Mapping[str, int | str], *parts: str) -> str:
    """Text with what kernels of a network share before it."""
    fixed = {"THREADS": THREADS, "STORAGE": 0, "W": 1}
    head = [f"#define {name} {value}" for name, value in {**fixed, **defines}.items()]
    # C++ knows no array of length 0.
    head.append("#define SOME(n) ((n) > 0 ? (n) : 1)")
    names = ("real", "whole", "tally")
    head += [f"typedef {kind} {name};" for name, kind in zip(names, TYPES[real], strict=True)]
    head.append("typedef real storage;")
    files = map(cuda_file, ("ptx.cuh", "device.cuh", "engine.cuh"))
    return "\n".join([*head, *files, *parts, ""])


def _look_up(program: Program, variant: UpdateVariant, numbers: int) -> Iterator[str]:
    """The functions that find the constants of a population, and those of a neuron."""
    places, own = count(), []
    yield "DEVICE void look_up(const real* row, real (&quantum)[SOME(INPUTS)],"
    yield "                    real (&parameter)[SOME(PARAMETERS)],"
    yield "                    real (&number)[SOME(NUMBERS)]) {"
    for i in range(len(program.inputs)):
        yield f"    quantum[{i}] = __ldg(row + {next(places)});"
    for i, name in enumerate(program.parameters):
        if name in variant.arrays:
            place = f"arrays + {variant.arrays.index(name)} * columns"
            own.append(f"    parameter[{i}] = __ldg({place});")
        else:
            yield f"    parameter[{i}] = __ldg(row + {next(places)});"
    for i in range(numbers):
        yield f"    number[{i}] = __ldg(row + {next(places)});"
    yield "}"
    yield "DEVICE void look_up_own(const real* arrays, long long columns,"
    yield "                        real (&parameter)[SOME(PARAMETERS)]) {"
    yield from own
    yield "}"
