"""The tape: a neuron's ``step`` recorded as a straight line of operations.

Calling ``step`` with tensors computes; calling the same ``step`` with tape values records. A step
that leaves the operator set of :mod:`spikesim.ops` cannot be recorded, and the error says where.

>>> from spikesim.neurons.li import LI
>>> print(trace(LI(tau=2.0)))
LI: x | v | k
  t0 = x - v
  t1 = t0 * k
  t2 = v + t1
  -> t2 | v = t2
"""

import linecache
import operator
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from spikesim import ops
from spikesim.errors import UserError
from spikesim.surrogate import Smoothed, Surrogate
from spikesim.types import Named

if TYPE_CHECKING:
    from spikesim.neuron import Neuron

SYMBOLS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPARISONS = ("<", "<=", ">", ">=")
NOT_THE_MODEL = (__name__, ops.__name__, "torch.")
OPERATIONS: dict[str, Callable[..., Any]] = (
    SYMBOLS | {"neg": operator.neg} | {name: getattr(ops, name) for name in ops.__all__}
)
"""Every operation a tape may hold, as torch computes it."""

Argument: TypeAlias = str | float | Surrogate
"""The name of an earlier value, a plain number, or the surrogate of a spike."""


class TraceError(UserError):
    """A ``step`` used something outside the operator set; names it and its source line."""


@dataclass(frozen=True)
class Line:
    """One operation: ``name = op(args)``."""

    name: str
    op: str
    args: tuple[Argument, ...]

    def __str__(self) -> str:
        if self.op in SYMBOLS:
            return f"{self.name} = {self.args[0]} {self.op} {self.args[1]}"
        return f"{self.name} = {self.op}({', '.join(map(str, self.args))})"


@dataclass(frozen=True)
class Tape:
    """A recorded ``step``. A value is named as the neuron names it, or ``t0``, ``t1``, ..."""

    neuron: str
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    """Parameters and derived constants that the step reads."""
    lines: tuple[Line, ...]
    state: Mapping[str, Argument]
    """For each state variable, the value it takes."""
    output: Argument
    sources: Mapping[str, frozenset[str]]
    """For each parameter read, the parameters of the neuron that it comes from."""

    def __str__(self) -> str:
        head = " | ".join(map(", ".join, (self.inputs, self.states, self.parameters)))
        new = ", ".join(f"{name} = {value}" for name, value in self.state.items())
        body = "".join(f"  {line}\n" for line in self.lines)
        return f"{self.neuron}: {head}\n{body}  -> {self.output} | {new}"

    def evaluate(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Any]:
        """Compute the recorded step; bitwise what ``neuron.step`` computes."""
        known: dict[str, Any] = {name: p[name] for name in self.parameters}
        known |= {name: inputs[name] for name in self.inputs}
        known |= {name: state[name] for name in self.states}

        def value(arg: Argument) -> Any:
            return known[arg] if isinstance(arg, str) else arg

        for line in self.lines:
            known[line.name] = OPERATIONS[line.op](*map(value, line.args))
        return Named({name: value(arg) for name, arg in self.state.items()}), value(self.output)


def trace(neuron: "Neuron", before: Callable[[Any, Named], Any] | None = None) -> Tape:
    """Record ``neuron.step``.

    Args:
        neuron: what to record.
        before: maps the first input and the parameters to what the step sees as that input;
            whatever new parameter it reads becomes one of the tape.

    Raises:
        TraceError: ``step`` or ``derived`` leaves the operator set.
    """
    lines: list[Line] = []
    given = [name for name in neuron.parameter_names if getattr(neuron, name) is not None]
    scratch: list[Line] = []
    derived = neuron.derived(Named({name: Value(name, scratch) for name in given}))
    sources = {name: frozenset((name,)) for name in given}
    for line in scratch:
        sources[line.name] = _union(sources, line.args)
    for name, value in derived.items():
        sources[name] = _union(sources, (as_argument(name, value),))
    names = (*given, *derived)
    everything = (*neuron.inputs, *neuron.states, *names)
    for name, count in Counter(everything).items():
        if count > 1 or re.fullmatch(r"[tc]\d+", name):
            who = type(neuron).__name__
            raise TraceError(f"{who}: {name!r} must name one value; t0, c0, ... are taken")
    inputs = {name: Value(name, lines) for name in neuron.inputs}
    if before is not None:
        inputs[neuron.inputs[0]] = before(inputs[neuron.inputs[0]], _Anything(lines))
    after, output = neuron.step(
        Named({name: Value(name, lines) for name in neuron.states}),
        Named(inputs),
        Named({name: Value(name, lines) for name in names}),
    )
    state = {name: as_argument("the new state", after[name]) for name in neuron.states}
    out = as_argument("the output", output)
    made = {line.name for line in lines}
    read = dict.fromkeys(arg for line in lines for arg in line.args if isinstance(arg, str))
    read |= dict.fromkeys(arg for arg in (*state.values(), out) if isinstance(arg, str))
    known = {*neuron.inputs, *neuron.states, *made}
    return Tape(
        neuron=type(neuron).__name__,
        inputs=neuron.inputs,
        states=neuron.states,
        parameters=tuple(sorted((name for name in read if name not in known), key=_rank(names))),
        lines=tuple(lines),
        state=state,
        output=out,
        sources={name: sources.get(name, frozenset((name,))) for name in read if name not in known},
    )


def _union(sources: Mapping[str, frozenset[str]], args: tuple[Argument, ...]) -> frozenset[str]:
    return frozenset().union(*(sources[arg] for arg in args if isinstance(arg, str)))


def _rank(names: tuple[str, ...]) -> Callable[[str], int]:
    """The order of the neuron's own parameters; others first, as they come."""
    place = {name: i for i, name in enumerate(names)}
    return lambda name: place.get(name, -1)


class _Anything(Named):
    """A record that has every name."""

    def __init__(self, lines: list[Line]) -> None:
        super().__init__(lines=lines)

    def __getattr__(self, name: str) -> Any:
        return Value(name, self._values["lines"])


class Value:
    """An array that is not there yet: operations on it are written down."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str, lines: list[Line], *, is_truth: bool = False) -> None:
        self._name, self._lines, self._is_truth = name, lines, is_truth

    def __spikesim_record__(self, op: str, *args: Any) -> Any:
        if op == "spike" and isinstance(args[1], Smoothed):
            return args[1].primitive(args[0])
        condition = args[0] if op == "where" else None
        if op == "where" and not (isinstance(condition, Value) and condition._is_truth):
            raise _refusal("where", "its condition must be a comparison")
        for arg in args:
            if isinstance(arg, Value) and arg._is_truth and arg is not condition:
                raise _refusal(op, "a comparison can only be the condition of where")
        line = Line(f"t{len(self._lines)}", op, tuple(as_argument(op, arg) for arg in args))
        self._lines.append(line)
        return Value(line.name, self._lines, is_truth=op in COMPARISONS)

    def __neg__(self) -> "Value":
        negated: Value = self.__spikesim_record__("neg", self)
        return negated

    def __bool__(self) -> bool:
        raise _refusal("a branch on data (if, while, and, or, not, min, max)", "use where")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _refusal(f".{name}")

    def __array_ufunc__(self, function: Any, *_: Any) -> Any:
        raise _refusal(f"numpy.{function.__name__}")

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any) -> Any:
        raise _refusal(f"torch.{getattr(function, '__name__', function)}")


def as_argument(op: str, arg: Any) -> Argument:
    """What a line of ``op`` holds for ``arg``."""
    if isinstance(arg, Value):
        return arg._name
    if isinstance(arg, Surrogate):
        return arg
    if isinstance(arg, int | float):
        return float(arg)
    cure = "an array belongs into add_parameter, to be read as p.name"
    raise _refusal(f"{op} with a {type(arg).__name__}", cure)


def _refusal(what: str, cure: str = "") -> TraceError:
    """An error that names the line of the model's source, not of this file."""
    frame: Any = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith(NOT_THE_MODEL):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, number).strip()
    cure = cure or "allowed: + - * / < <= > >= and " + ", ".join(ops.__all__)
    return TraceError(f"{what} cannot be recorded: {file}:{number}: {text!r}; {cure}")


def _overload(symbol: str, name: str) -> None:
    def forward(self: Value, other: Any) -> Any:
        return self.__spikesim_record__(symbol, self, other)

    def reflected(self: Value, other: Any) -> Any:
        return self.__spikesim_record__(symbol, other, self)

    setattr(Value, f"__{name}__", forward)
    if symbol not in COMPARISONS:
        setattr(Value, f"__r{name}__", reflected)


def _forbid(name: str) -> None:
    def refuse(self: Value, *_: Any) -> Any:
        raise _refusal(name.strip("_"))

    setattr(Value, name, refuse)


for _symbol, _function in SYMBOLS.items():
    _overload(_symbol, _function.__name__)
for _name in (
    *("pow", "rpow", "mod", "rmod", "floordiv", "rfloordiv", "matmul", "rmatmul", "eq", "ne"),
    *("and", "rand", "or", "ror", "xor", "rxor", "invert", "abs", "round", "getitem", "iter"),
    *("len", "float", "int", "index", "array"),
):
    _forbid(f"__{_name}__")
