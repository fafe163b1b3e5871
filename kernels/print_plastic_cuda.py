"""CUDA text of plastic synapses: a rule's lines, for the kernels of ``cuda/plastic*.cuh``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spikesim.kernels.plastic import ELIGIBILITY, SENT, WEIGHT, Part, PlasticProgram
from spikesim.kernels.plastic_state import FINE, NEVER, NEWEST
from spikesim.kernels.print_cuda import FORWARD, cuda_file
from spikesim.kernels.print_update import MOST_SHARED, engine_text
from spikesim.kernels.step_numba import arg, is_number
from spikesim.kernels.tape import COMPARISONS, Argument


@dataclass(frozen=True)
class CudaPlasticVariant:
    """What of projections with one program is fixed when their text is printed."""

    real: str
    """dtype of weights, traces and arithmetic."""
    place: str
    """``"uint16"`` or ``"uint32"``."""
    is_spread: bool
    """Whether a place holds the delay too."""
    long: tuple[bool, ...]
    """Of each trace, then of the eligibility, whether its decay lies in two tables."""
    is_each: bool
    """Whether the modulator has a value for each receiver."""
    numbers: int
    """Of the rule."""


def plastic_text(program: PlasticProgram, variant: CudaPlasticVariant, many: int) -> str:
    """Text of the kernels ``keep``, ``act``, ``settle``, ``fold``, ``look`` and ``empty``, for so
    many projections at once."""
    pre, post = program.pre, program.post
    defines: dict[str, int | str] = {
        "MANY": many,
        "MOST_SHARED": MOST_SHARED,
        "PRE": len(pre),
        "POST": len(post),
        "FADING": len(variant.long),
        "NUMBERS": variant.numbers,
        "NEWEST": NEWEST,
        "NEVER": f"({NEVER})",
        "FINE": f"{FINE}u",
        "LONG": _mask(variant.long),
        "HEARD": _mask(name in program.heard for name in post),
        "BEFORE": _mask(name in program.before_post for name in post),
        "LOOKS_BACK": int(program.looks_back),
        "TAKES_UP": int(bool(program.on_post.after)),
        "IS_PLASTIC": int(program.is_plastic),
        "ELIGIBLE": int(program.has_eligibility),
        "EACH": int(variant.is_each),
        "SPREAD": int(variant.is_spread),
    }
    place = "unsigned short" if variant.place == "uint16" else "unsigned"
    return engine_text(
        variant.real,
        defines,
        cuda_file("maths.cuh"),
        f"typedef {place} place_type;\n",
        cuda_file("plastic.cuh"),
        "\n".join(_rule(program)),
        cuda_file("plastic_keep.cuh"),
        cuda_file("plastic_visit.cuh"),
    )


def _mask(flags: Iterable[bool]) -> int:
    return sum(flag << i for i, flag in enumerate(flags))


def _rule(program: PlasticProgram) -> Iterator[str]:
    """The functions ``jump_pre``, ``jump_post``, ``on_pre`` and ``on_post``."""
    sides = (("pre", program.pre, program.jump_pre), ("post", program.post, program.jump_post))
    for side, traces, jump in sides:
        old, new = (f"real (&{name})[SOME({side.upper()})]" for name in ("old", "jumped"))
        yield f"DEVICE void jump_{side}(const Numbers& n, const {old}, {new}) {{"
        yield from _read("old", traces)
        yield from _lines(jump)
        for i, name in enumerate(traces):
            yield f"    jumped[{i}] = {_arg(jump.after.get(name, name))};"
        yield "}"
    both = "const real (&pre)[SOME(PRE)], const real (&post)[SOME(POST)]"
    for event, part, more in (
        ("on_pre", program.on_pre, "real& sent, "),
        ("on_post", program.on_post, ""),
    ):
        yield f"DEVICE void {event}(const Numbers& n, real& w, real& e, {more}{both}) {{"
        yield f"    const real {_arg(WEIGHT)} = w, {_arg(ELIGIBILITY)} = e;"
        yield from _read("pre", program.pre)
        yield from _read("post", program.post)
        yield from _lines(part)
        if ELIGIBILITY in part.after:
            yield f"    e = {_arg(part.after[ELIGIBILITY])};"
        if WEIGHT in part.after:
            yield f"    w = bounded(n, {_arg(part.after[WEIGHT])});"
        if more:
            given = f"bounded_sent(n, {_arg(part.after[SENT])})" if SENT in part.after else "w"
            yield f"    sent = {given};"
        yield "}"


def _read(array: str, names: Iterable[str]) -> Iterator[str]:
    for i, name in enumerate(names):
        yield f"    const real {_arg(name)} = {array}[{i}];"


def _lines(part: Part) -> Iterator[str]:
    read = {str(name) for line in part.lines for name in line.args}
    for name in sorted(filter(is_number, read)):
        yield f"    const real {name} = n.number[{name[1:]}];"
    for line in part.lines:
        kind = "bool" if line.op in COMPARISONS else "real"
        value = FORWARD[line.op].format(*map(_arg, line.args))
        yield f"    const {kind} {line.name} = {value};"


def _arg(value: Argument) -> str:
    return f"real({value!r})" if isinstance(value, float) else arg(value)
