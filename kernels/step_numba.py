"""The lines of a step as numba text: one Python statement each, on numbers of one neuron.

Names of a neuron get the prefix ``my_``: it may call a parameter ``table``.
"""

import re
from collections.abc import Collection, Iterable, Iterator

from spikesim.kernels.program import Program
from spikesim.kernels.tape import COMPARISONS, Argument, Line

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


def step(program: Program, lines: Iterable[Line], numbers: Collection[str]) -> Iterator[str]:
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
                    f"{', '.join(words)} = philox(key, key >> uint64(32),"
                    " load_uint32(elements, inside + i),"
                    " first_sample + load_uint32(samples, inside + i),"
                    f" first_step + uint64(t), (layer << 8) + {number // 2})"
                )
            pair = ", ".join(words[2 * (number % 2) :][:2])
            yield f"{line.name} = {DRAWS[line.op].format(arg(left), pair)}"
        elif line.op == "/" and (isinstance(left, float) or left in numbers or is_number(left)):
            # torch computes number / array as the array's reciprocal times the number.
            yield f"{line.name} = ONE / {arg(line.args[1])} * {arg(left)}"
        else:
            yield text(line)


def text(line: Line) -> str:
    """Any line but a draw."""
    return f"{line.name} = {OPERATIONS[line.op].format(*map(arg, line.args))}"


def arg(value: Argument) -> str:
    """A name or a number."""
    if isinstance(value, float):
        return literal(value)
    return str(value) if re.fullmatch(r"[tc]\d+", str(value)) else f"my_{value}"


def is_number(value: Argument) -> bool:
    """Whether an argument is one of the program's numbers ``c0``, ``c1``, ..."""
    return re.fullmatch(r"c\d+", str(value)) is not None


def needed(lines: Iterable[Line], ends: Iterable[Argument]) -> list[Line]:
    """Those lines that ``ends`` depend on."""
    names, kept = set(ends), []
    for line in reversed(list(lines)):
        if line.name in names:
            names |= set(line.args)
            kept.append(line)
    return kept[::-1]


def literals(program: Program) -> list[float]:
    """The numbers in the text."""
    lines = (*program.lines, *program.reverse)
    ends = (*program.after.values(), *program.cotangents.values())
    found = (*(arg for line in lines for arg in line.args), *ends)
    return sorted({0.0, 1.0, *(arg for arg in found if isinstance(arg, float))})


def literal(value: float) -> str:
    """The name of a number in the text."""
    names = {0.0: "ZERO", 1.0: "ONE"}
    return names.get(value) or "NUMBER_" + re.sub(r"\W", "_", repr(value))
