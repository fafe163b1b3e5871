"""The reverse sweep: from the lines of one step, the lines of its gradient.

For each state variable and the output there is an incoming cotangent; the sweep walks the lines
backwards and writes down, with the same operators, the cotangents of the state before the step, of
the inputs and of the parameters asked for. Surrogates and ``detach`` are resolved here.

>>> from spikesim.kernels.tape import trace
>>> from spikesim.neurons.li import LI
>>> print(reverse(trace(LI(tau=2.0)), wanted=("k",)))
  t3 = d_output + d_v
  t4 = k * t3
  t5 = t3 - t4
  t6 = t0 * t3
  -> d_x = t4 | d_v = t5 | d_k = t6
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from spikesim.kernels.linear import Sum, Term
from spikesim.kernels.tape import COMPARISONS, Argument, Line, Tape, Value, as_argument
from spikesim.ops import where
from spikesim.surrogate import Surrogate

Share: TypeAlias = Callable[..., Any]
"""From the cotangent of a result, the result and the arguments: the share of one argument."""


@dataclass(frozen=True)
class Reverse:
    """Lines that follow those of a tape, and where the cotangents end up."""

    lines: tuple[Line, ...]
    cotangents: Mapping[str, Argument]
    """For each input, state and wanted parameter its cotangent; 0.0 where nothing flows."""

    def __str__(self) -> str:
        body = "".join(f"  {line}\n" for line in self.lines)
        return f"{body}  -> " + " | ".join(f"d_{k} = {v}" for k, v in self.cotangents.items())


def reverse(tape: Tape, wanted: Collection[str] = ()) -> Reverse:
    """The gradient of one recorded step.

    Args:
        tape: the step. Incoming cotangents are named ``d_output`` and ``d_<state>``.
        wanted: parameters whose cotangents are wanted too.
    """
    leaves = (*tape.inputs, *tape.states, *(name for name in tape.parameters if name in wanted))
    live = _live(tape, leaves)
    truths = {line.name for line in tape.lines if line.op in COMPARISONS}
    # New names count on from the last one, whatever was taken out of the tape before.
    names = (*tape.parameters, *(line.name for line in tape.lines))
    first = 1 + max((int(name[1:]) for name in names if re.fullmatch(r"t\d+", name)), default=-1)
    lines = [*tape.lines, *[Line("", "", ())] * (first - len(tape.lines))]
    sums: dict[Argument, Sum] = {}

    def value(arg: Argument) -> Any:
        return Value(arg, lines, is_truth=arg in truths) if isinstance(arg, str) else arg

    def add(arg: Argument, share: Any) -> None:
        if not isinstance(share, Sum):
            share = Sum({Term(as_argument("gradient", share)): 1.0}, tape, value)
        sums[arg] = sums[arg] + share if arg in sums else share

    for arg, name in ((tape.output, "output"), *((arg, name) for name, arg in tape.state.items())):
        if arg in live:
            add(arg, value(f"d_{name}"))
    for line in reversed(tape.lines):
        if line.name not in sums:
            continue
        pairs = zip(line.args, RULES[line.op], strict=False)
        shares = [(arg, share) for arg, share in pairs if share is not None and arg in live]
        g: Any = sums[line.name]
        if len(shares) > 1 or len(g.terms) > 1:
            g = g.computed()
        if line.op not in LINEAR:
            g = value(g.name())
        known = (value(line.name), *map(value, line.args))
        for arg, share in shares:
            add(arg, share(g, *known))
    ends = {name: sums[name].name() if name in sums else 0.0 for name in leaves}
    return Reverse(tuple(lines[first:]), ends)


def _live(tape: Tape, leaves: Collection[str]) -> set[Argument]:
    """The names that a gradient flows through."""
    live: set[Argument] = set(leaves)
    for line in tape.lines:
        shares = zip(line.args, RULES[line.op], strict=False)
        if any(share is not None and arg in live for arg, share in shares):
            live.add(line.name)
    return live


def _pass(g: Any, *_: Any) -> Any:
    return g


def _spike(g: Any, _: Any, u: Any, surrogate: Surrogate) -> Any:
    return g * surrogate.derivative(u)


RULES: dict[str, tuple[Share | None, ...]] = {
    "+": (_pass, _pass),
    "-": (_pass, lambda g, r, a, b: -g),
    "*": (lambda g, r, a, b: g * b, lambda g, r, a, b: g * a),
    "/": (lambda g, r, a, b: g / b, lambda g, r, a, b: -(g / b) * r),
    "neg": (lambda g, r, a: -g,),
    "where": (None, lambda g, r, c, a, b: where(c, g, 0.0), lambda g, r, c, a, b: where(c, 0.0, g)),
    # A tie gives its gradient to the first, as spikesim.ops does.
    "minimum": (
        lambda g, r, a, b: where(a <= b, g, 0.0),
        lambda g, r, a, b: where(a <= b, 0.0, g),
    ),
    "maximum": (
        lambda g, r, a, b: where(a >= b, g, 0.0),
        lambda g, r, a, b: where(a >= b, 0.0, g),
    ),
    "absolute": (lambda g, r, a: where(a > 0.0, g, where(a < 0.0, -g, 0.0)),),
    "round_": (_pass,),
    "exp": (lambda g, r, a: g * r,),
    "log": (lambda g, r, a: g / a,),
    "tanh": (lambda g, r, a: g * (1.0 - r * r),),
    "spike": (_spike,),
    "bernoulli": (_pass,),
    "noise": (),
    "detach": (),
    **dict.fromkeys(COMPARISONS, ()),
}
"""For each operation, the share of each argument; ``None`` or nothing: no gradient flows."""

LINEAR = ("+", "-", "*", "neg", "round_", "bernoulli", "spike")
"""Operations whose shares are the cotangent times something, with or without a sign."""
