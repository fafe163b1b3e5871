"""Cotangents as sums of products, computed as late as possible.

A factor of a gradient is mostly a number, a parameter, or either times one value of the step. Kept
as ``number * parameters * value * base``, where a base is a cotangent that was computed, equal
terms meet, and what is the same in every step becomes a factor of its own, which a compiler takes
out of the time loop: ``g + g * q + (g * v) * r + g * (r * v)`` is ``g * (1 + q + (2 r) v)``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import Any, NamedTuple, TypeAlias

from spikesim.kernels.tape import Argument, Tape, as_argument

Part: TypeAlias = tuple[float, list[Any]]
"""A number, and the factors it is multiplied with."""


class Term(NamedTuple):
    """A product, but for its number."""

    base: Argument
    parameters: tuple[str, ...] = ()
    value: str | None = None
    """What changes from step to step."""


@dataclass(frozen=True)
class Sum:
    """A cotangent: terms, each times its number."""

    terms: Mapping[Term, float]
    tape: Tape
    value: Callable[[Argument], Any]
    """Something named, to be computed with."""

    @property
    def is_computed(self) -> bool:
        """Whether nothing is left to compute, but for a sign."""
        ((term, number), *more) = self.terms.items()
        return not more and term == Term(term.base) and abs(number) == 1.0

    def __add__(self, other: "Sum") -> "Sum":
        terms = dict(self.terms)
        for term, number in other.terms.items():
            terms[term] = terms.get(term, 0.0) + number
        return self._with(terms)

    def __neg__(self) -> "Sum":
        return self._with({term: -number for term, number in self.terms.items()})

    def __mul__(self, factor: Any) -> "Sum":
        number, parameters, value = self._product(as_argument("gradient", factor))
        if value is not None and any(term.value is not None for term in self.terms):
            computed: Sum = self.computed() * factor
            return computed
        terms: dict[Term, float] = {}
        for term, of in self.terms.items():
            names = tuple(sorted((*term.parameters, *parameters)))
            terms[Term(term.base, names, term.value or value)] = of * number
        return self._with(terms)

    def computed(self) -> "Sum":
        """The same as one base."""
        return self if self.is_computed else self._with({Term(self.name()): 1.0})

    def name(self) -> Argument:
        """Of the value of all, which is computed."""
        bases: dict[Argument, dict[str | None, list[Part]]] = defaultdict(lambda: defaultdict(list))
        # What does not change first.
        for term in sorted(self.terms, key=lambda term: term.value is not None):
            factors = [self.value(name) for name in term.parameters]
            bases[term.base][term.value].append((self.terms[term], factors))
        shares = []
        for base, values in bases.items():
            inside = [
                _times(parts, [] if value is None else [self.value(value)])
                for value, parts in values.items()
            ]
            shares.append(_times(inside, [self.value(base)]))
        return as_argument("gradient", _sum(shares))

    def _with(self, terms: Mapping[Term, float]) -> "Sum":
        return Sum(terms, self.tape, self.value)

    def _product(self, arg: Argument) -> tuple[float, tuple[str, ...], str | None]:
        """A factor as a number, parameters and at most one value that changes."""
        if isinstance(arg, float):
            return arg, (), None
        name = str(arg)
        if name in self.tape.parameters:
            return 1.0, (name,), None
        for line in self.tape.lines:
            if line.name == name and line.op == "*":
                (a, some, one), (b, others, other) = map(self._product, line.args)
                if one is None or other is None:
                    return a * b, some + others, one or other
        return 1.0, (), name


def _times(parts: list[Part], factors: list[Any]) -> Part:
    if len(parts) > 1:
        return 1.0, [_sum(parts), *factors]
    ((number, inside),) = parts
    return number, inside + factors


def _sum(parts: Iterable[Part]) -> Any:
    total = None
    # One that is taken off is not first, if there is another.
    for number, factors in sorted(parts, key=lambda part: part[0] < 0.0):
        size = [] if abs(number) == 1.0 and factors else [abs(number)]
        product = reduce(mul, (*size, *factors))
        if total is None:
            total = product if number >= 0.0 else -product
        else:
            total = total + product if number >= 0.0 else total - product
    return total
