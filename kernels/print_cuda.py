"""CUDA text of a program: the lines of one step, forward and backward, before the time loop."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from spikesim.kernels.program import Program
from spikesim.kernels.tape import COMPARISONS, Argument, Line

FORWARD: dict[str, str] = {
    # Functions that no compiler contracts: spikes must equal those of the reference.
    "+": "add({0}, {1})",
    "-": "sub({0}, {1})",
    "*": "mul({0}, {1})",
    "/": "div({0}, {1})",
    "neg": "-{0}",
    "where": "{0} ? {1} : {2}",
    "minimum": "{0} <= {1} ? {0} : {1}",
    "maximum": "{0} >= {1} ? {0} : {1}",
    "absolute": "abs_({0})",
    "round_": "round_({0})",
    "exp": "exp_({0})",
    "log": "log_({0})",
    "tanh": "tanh_({0})",
    "spike": "{0} >= real(0) ? real(1) : real(0)",
    "detach": "{0}",
    "bernoulli": "draw.uniform() < {0} ? real(1) : real(0)",
    "noise": "draw.normal()",
    **{symbol: f"{{0}} {symbol} {{1}}" for symbol in COMPARISONS},
}
BACKWARD = (
    FORWARD
    | {symbol: f"{{0}} {symbol} {{1}}" for symbol in "+-*"}
    | {
        "/": "quotient({0}, {1})",
        "exp": "fast_exp({0})",
    }
)
"""Gradients may be contracted and divided approximately."""


@dataclass(frozen=True)
class Variant:
    """How the time loop is cut: what is fixed when the text is compiled."""

    storage: str
    """``"float32"``, ``"float64"``, ``"float16"`` or ``"bfloat16"``."""
    width: int
    """Neighbouring neurons of a thread."""
    segment: int
    """Steps kept in registers."""
    pipelined: bool
    """Whether the next segment is loaded while this one is computed."""
    threads: int = 128
    blocks: int | None = None
    """Blocks that a multiprocessor is to hold at once, which bounds the registers of a thread."""
    traces: bool = False
    spikes: str = "storage"
    """What the output is stored as: ``"storage"``, ``"uint8"`` or ``"bits"``."""
    one_number: tuple[str, ...] = ()
    """Parameters, and states whose initial value, that are one number rather than an array."""


STORAGE_TYPES = {
    "float32": ("float", "float", 0),
    "float64": ("double", "double", 0),
    "float16": ("float", "unsigned short", 1),
    "bfloat16": ("float", "unsigned short", 2),
}
SPIKES = ("storage", "uint8", "bits")


def cuda_text(program: Program, variant: Variant, every: int) -> str:
    """Everything a CUDA compiler needs, without an include."""
    real, storage, kind = STORAGE_TYPES[variant.storage]
    defines = {
        "STORAGE": kind,
        "W": variant.width,
        "K": variant.segment,
        "PIPELINED": int(variant.pipelined),
        "THREADS": variant.threads,
        "BOUNDS": f"__launch_bounds__(THREADS{f', {variant.blocks}' if variant.blocks else ''})",
        "TRACES": int(variant.traces),
        "SPIKES": SPIKES.index(variant.spikes),
        "EVERY": every,
        "INPUTS": len(program.inputs),
        "STATES": len(program.states),
        "PARAMETERS": len(program.parameters),
        "NUMBERS": _numbers(program),
        "WANTED": len(program.wanted),
        "KEPT": len(program.kept),
        "DRAWS": program.draws,
        "ONE_NUMBER": _one_number(program, variant),
    }
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    # C++ knows no array of length 0.
    head += "#define SOME(n) ((n) > 0 ? (n) : 1)\n"
    types = f"typedef {real} real;\ntypedef {storage} storage;\n"
    files = ["ptx.cuh", "device.cuh", "maths.cuh", *(["philox.cuh"] if program.draws else [])]
    parts = [
        head,
        types,
        *map(cuda_file, files),
        step_text(program, variant),
        *map(cuda_file, ("time_loop.cuh", "time_forward.cuh", "time_backward.cuh")),
    ]
    return "\n".join(parts)


@cache
def cuda_file(name: str) -> str:
    """A file of hand-written CUDA text."""
    return resources.files("spikesim.kernels.cuda").joinpath(name).read_text("utf-8")


def step_text(program: Program, variant: Variant) -> str:
    """The functions ``step``, ``step_keep`` and ``step_back`` of one neuron."""
    constants = [
        *(f"const real {_arg(p)} = parameter[{i}];" for i, p in enumerate(program.parameters)),
        *(f"const real c{i} = number[{i}];" for i in range(_numbers(program))),
    ]
    reads = [
        *(f"const real {_arg(name)} = input[{i}];" for i, name in enumerate(program.inputs)),
        *(f"const real {_arg(name)} = state[{i}];" for i, name in enumerate(program.states)),
        *constants,
    ]
    divided = tuple(name for name in program.dividends if name in variant.one_number)
    forward_text = _forward_texts(program, divided)
    lines = list(forward_text.values())
    # All new values are read before the first is written: a state may be another's old one.
    news = [f"const real new_{name} = {_arg(program.after[name])};" for name in program.states]
    sets = [f"state[{i}] = new_{name};" for i, name in enumerate(program.states)]
    forward = [*reads, *lines, *news, f"output = {_arg(program.after['output'])};", *sets]
    keep = [f"kept[{i}] = {_arg(name)};" for i, name in enumerate(program.kept)]
    ends = program.cotangents
    backward = [
        *constants,
        *(f"const real {_arg(name)} = kept[{i}];" for i, name in enumerate(program.kept)),
        *(f"const real {_arg('d_' + s)} = d_state[{i}];" for i, s in enumerate(program.states)),
        f"const real {_arg('d_output')} = d_out;",
        *(forward_text[line.name] for line in program.again),
        *(_text(line) for line in program.reverse),
        *(f"d_input[{i}] = {_arg(ends[name])};" for i, name in enumerate(program.inputs)),
        *(f"d_state[{i}] = {_arg(ends[name])};" for i, name in enumerate(program.states)),
        *(f"sums[{i}] += {_arg(ends[name])};" for i, name in enumerate(program.wanted)),
    ]
    known = "const real (&parameter)[SOME(PARAMETERS)], const real (&number)[SOME(NUMBERS)]"
    seen = f"real (&state)[SOME(STATES)], const real (&input)[SOME(INPUTS)], {known}"
    of_draw = ", Draw& draw" if program.draws else ""
    gradients = (
        "real (&d_state)[SOME(STATES)], real d_out, real (&d_input)[SOME(INPUTS)], "
        "real (&sums)[SOME(WANTED)]"
    )
    functions = {
        f"step({seen}, real& output{of_draw})": forward,
        f"step_keep({seen}, real (&kept)[SOME(KEPT)]{of_draw})": [
            *reads,
            *lines,
            *keep,
            *news,
            *sets,
        ],
        f"step_back(const real (&kept)[SOME(KEPT)], {known}, {gradients})": backward,
    }
    texts = (
        f"DEVICE void {signature} {{\n" + "".join(f"    {line}\n" for line in body) + "}\n"
        for signature, body in functions.items()
    )
    return "\n".join(texts)


def _forward_texts(program: Program, divided: tuple[str, ...]) -> dict[str, str]:
    """The lines of a step by name, computed as torch computes them."""
    zero_or_one: set[Argument] = set()
    exact: dict[Argument, tuple[Argument, ...]] = {}
    texts = {}
    for name, op, args in ((line.name, line.op, line.args) for line in program.lines):
        left, right = args[0] if args else "", args[-1] if args else ""
        is_opposite = op == "-" and left == 1.0 and right in zero_or_one
        if op in ("spike", "bernoulli") or (op == "detach" and left in zero_or_one) or is_opposite:
            zero_or_one.add(name)
        elif op == "*" and not zero_or_one.isdisjoint(args):
            # What is multiplied with 0 or 1 is not rounded, so that it may be added in one go.
            exact[name] = args if left in zero_or_one else args[::-1]
        value = FORWARD[op].format(*map(_arg, args))
        if op == "/" and (is_number(left) or left in divided):
            # torch computes number / array as the array's reciprocal times the number.
            value = f"mul(div(real(1), {_arg(right)}), {_arg(left)})"
        elif op in "+-" and right in exact:
            factor, other = map(_arg, exact[right])
            value = f"fused({op}{factor}, {other}, {_arg(left)})"
        elif op in "+-" and left in exact:
            factor, other = map(_arg, exact[left])
            value = f"fused({factor}, {other}, {op}{_arg(right)})"
        texts[name] = f"const {_kind(op)} {name} = {value};"
    return texts


def _text(line: Line) -> str:
    value = BACKWARD[line.op].format(*map(_arg, line.args))
    return f"const {_kind(line.op)} {line.name} = {value};"


def _kind(op: str) -> str:
    return "bool" if op in COMPARISONS else "real"


def is_number(arg: Argument) -> bool:
    """Whether an argument is a literal, in the text or out of it."""
    return isinstance(arg, float) or (isinstance(arg, str) and arg[0] == "c" and arg[1:].isdigit())


def _arg(arg: Argument) -> str:
    if isinstance(arg, float):
        return f"real({arg!r})"
    # A neuron may call its parameters K or double: names of a model get a prefix of their own.
    name = str(arg)
    return name if re.fullmatch(r"[tc]\d+", name) else f"my_{name}"


def _one_number(program: Program, variant: Variant) -> str:
    """Bit i: whether operand i is one number."""
    operands = (*program.parameters, *program.states)
    return f"{sum((name in variant.one_number) << i for i, name in enumerate(operands))}ull"


def _numbers(program: Program) -> int:
    names = {a for line in (*program.lines, *program.reverse) for a in line.args}
    return sum(isinstance(a, str) and is_number(a) for a in names)
