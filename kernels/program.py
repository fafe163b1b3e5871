"""What is printed: a recorded step with its gradient, free of numbers and of loop-invariant lines.

A program depends on the text of the step alone, so neurons that differ in their numbers share one
kernel. Literals become arguments; lines that read parameters only are computed once per call, by
torch, as the reference computes them.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spikesim.kernels.reverse import reverse
from spikesim.kernels.tape import OPERATIONS, Argument, Line, Tape, trace
from spikesim.types import Named, Number

if TYPE_CHECKING:
    from spikesim.neuron import Neuron

PLAIN = (0.0, 1.0, 0.5, 2.0, -1.0)
"""Numbers that stay in the text."""

_DRAWS = ("bernoulli", "noise")

BATCH_NORM = ("bn_mean", "bn_scale", "bn_shift")
"""Parameters of the affine map before a step: ``z = (x - bn_mean) * bn_scale + bn_shift``."""


@dataclass(frozen=True, eq=False)
class Program:
    """One step, forward and backward, ready to be printed; equal ``key``, equal text."""

    inputs: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    """What the lines read beside inputs, states and numbers; some from ``hoisted``."""
    wanted: tuple[str, ...]
    """Those parameters whose gradient is computed."""
    lines: tuple[Line, ...]
    after: Mapping[str, Argument]
    """The new state, and ``"output"``."""
    reverse: tuple[Line, ...]
    cotangents: Mapping[str, Argument]
    """Of inputs, states and wanted parameters."""
    kept: tuple[str, ...]
    """Values of a step that suffice for its reverse lines."""
    again: tuple[Line, ...]
    """The lines that the reverse lines read, computed from what was kept."""
    draws: int
    """Random numbers a neuron draws in a step."""

    @cached_property
    def key(self) -> str:
        """A name for the text."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @cached_property
    def wanted_places(self) -> tuple[int, ...]:
        """Where ``wanted`` stand among ``parameters``."""
        return tuple(map(self.parameters.index, self.wanted))

    @cached_property
    def dividends(self) -> tuple[str, ...]:
        """Parameters that a step divides by something."""
        lefts = {line.args[0] for line in self.lines if line.op == "/"}
        return tuple(name for name in self.parameters if name in lefts)


PROGRAMS: dict[str, Program] = {}
"""Every program by its key: neurons of one text share one program."""


@dataclass(frozen=True)
class Bound:
    """A program with the numbers of one neuron."""

    program: Program
    numbers: tuple[float, ...]
    """The literals, read by the lines as ``c0``, ``c1``, ..."""
    hoisted: tuple[Line, ...]
    """Lines that read parameters only, computed before the loop."""

    def values(self, p: Mapping[str, Number]) -> dict[str, Number]:
        """The parameters of the program from those of a call."""
        known: dict[str, Any] = dict(p)
        for line in self.hoisted:
            args = (known[arg] if isinstance(arg, str) else arg for arg in line.args)
            known[line.name] = OPERATIONS[line.op](*args)
        return {name: known[name] for name in self.program.parameters}


def bind(neuron: "Neuron", *, batch_norm: bool = False) -> Bound:
    """Record a neuron's step, with its gradient.

    Args:
        neuron: any neuron; its learnable parameters get a gradient.
        batch_norm: put the affine map of :data:`BATCH_NORM` before the first input.

    Raises:
        TraceError: ``step`` or ``derived`` leaves the operator set.
    """
    tape = trace(neuron, before=_normalise if batch_norm else None)
    values = {name: getattr(neuron, name) for name in neuron.parameter_names}
    numbers_of = {name: v for name, v in values.items() if isinstance(v, int | float)}
    tape, hoisted = _hoist(_simplify(tape, numbers_of))
    learnable = {*neuron.learnable, *BATCH_NORM[1:]}
    wanted = tuple(name for name in tape.parameters if tape.sources[name] & learnable)
    back = reverse(tape, wanted)
    numbers: dict[float, str] = {}
    lines, reverse_lines = (
        tuple(without_numbers(line, numbers) for line in part) for part in (tape.lines, back.lines)
    )
    kept, again = _keep(tape, lines, reverse_lines, back.cotangents.values())
    program = Program(
        inputs=tape.inputs,
        states=tape.states,
        parameters=tape.parameters,
        wanted=wanted,
        lines=lines,
        after={**tape.state, "output": tape.output},
        reverse=reverse_lines,
        cotangents=dict(back.cotangents),
        kept=kept,
        again=again,
        draws=sum(line.op in _DRAWS for line in lines),
    )
    return Bound(PROGRAMS.setdefault(program.key, program), tuple(numbers), hoisted)


def _normalise(x: Any, p: Named) -> Any:
    return (x - p.bn_mean) * p.bn_scale + p.bn_shift


def _simplify(tape: Tape, numbers: Mapping[str, float]) -> Tape:
    """Leave out lines that multiply with 1, divide by 1 or take off 0: their bits are the same."""
    instead: dict[Argument, Argument] = {}
    lines = []
    for line in tape.lines:
        args = tuple(instead.get(arg, arg) for arg in line.args)
        values = [numbers.get(arg, arg) if isinstance(arg, str) else arg for arg in args]
        if (line.op in "*/" and values[1] == 1.0) or (line.op == "-" and values[1] == 0.0):
            instead[line.name] = args[0]
        elif line.op == "*" and values[0] == 1.0:
            instead[line.name] = args[1]
        else:
            lines.append(replace(line, args=args))
    state = {name: instead.get(arg, arg) for name, arg in tape.state.items()}
    output = instead.get(tape.output, tape.output)
    return replace(tape, lines=tuple(lines), state=state, output=output)


def _hoist(tape: Tape) -> tuple[Tape, tuple[Line, ...]]:
    """Take out the lines that read parameters only: they are the same in every step."""
    sources = dict(tape.sources)
    hoisted: list[Line] = []
    for line in tape.lines:
        if line.op not in _DRAWS and all(not isinstance(a, str) or a in sources for a in line.args):
            sources[line.name] = frozenset().union(*(sources[a] for a in line.args if a in sources))
            hoisted.append(line)
    kept = tuple(line for line in tape.lines if line.name not in sources)
    ends = (*tape.state.values(), tape.output)
    read = {arg for line in kept for arg in line.args} | set(ends)
    parameters = tuple(name for name in sources if name in read)
    return replace(tape, lines=kept, parameters=parameters, sources=sources), tuple(hoisted)


def without_numbers(line: Line, numbers: dict[float, str]) -> Line:
    """A line whose literals are named ``c0``, ``c1``, ... in ``numbers``, which grows by them."""
    args: list[Argument] = []
    for arg in line.args:
        if isinstance(arg, float) and arg not in PLAIN:
            args.append(numbers.setdefault(arg, f"c{len(numbers)}"))
        elif isinstance(arg, str | float):
            args.append(arg)
    return replace(line, args=tuple(args))


def _keep(
    tape: Tape, lines: tuple[Line, ...], back: tuple[Line, ...], ends: Iterable[Argument]
) -> tuple[tuple[str, ...], tuple[Line, ...]]:
    """The fewest values of a step that its reverse lines can be computed from.

    Starting from all that the reverse lines read, a value is left out where the others and the
    parameters determine it. A drawn number is kept: it is drawn once.
    """
    made = {line.name: line for line in lines}
    leaves = {*tape.states, *tape.inputs}
    read = [a for line in back for a in line.args] + list(ends)
    used = [a for a in dict.fromkeys(read) if a in made or a in leaves]

    def follows(name: Argument, known: Collection[Argument]) -> bool:
        if name in known:
            return True
        if name in leaves:
            return False
        line = made.get(name) if isinstance(name, str) else None
        if line is None:
            return True
        return line.op not in _DRAWS and all(follows(arg, known) for arg in line.args)

    kept = list(used)
    # The last values first: they follow from earlier ones more often than the other way round.
    for name in reversed(used):
        others = [other for other in kept if other != name]
        if all(follows(value, others) for value in used):
            kept = others
    drawn = any(line.op in _DRAWS for line in lines)
    if len(kept) > len(leaves) and not drawn:
        kept = [*tape.states, *tape.inputs]
    needed = {name for name in used if name not in kept}
    for line in reversed(lines):
        if line.name in needed and line.name not in kept:
            needed |= {arg for arg in line.args if arg in made and arg not in kept}
    return tuple(map(str, kept)), tuple(line for line in lines if line.name in needed)
