"""How many additions, products and functions recorded lines of a neuron or a rule are."""

from collections.abc import Iterable
from dataclasses import dataclass

from spikesim.kernels.tape import COMPARISONS, Line

ADDITIONS = frozenset(("+", "-", *COMPARISONS, "minimum", "maximum", "spike", "round_"))
MULTIPLICATIONS = frozenset(("*", "/"))
FUNCTIONS = frozenset(("exp", "log", "tanh", "bernoulli", "noise"))
"""A random number counts as one function. Choices, signs and copies are free."""


@dataclass(frozen=True)
class Arithmetic:
    """Operations, by what they cost.

    Attributes:
        additions: subtractions and comparisons too.
        multiplications: divisions too.
        functions: exponentials and other transcendental functions, random numbers.

    >>> Arithmetic(2, 1) + 3 * Arithmetic(1, 0, 1)
    Arithmetic(additions=5, multiplications=1, functions=3)
    """

    additions: float = 0
    multiplications: float = 0
    functions: float = 0

    def __add__(self, other: "Arithmetic") -> "Arithmetic":
        return Arithmetic(
            self.additions + other.additions,
            self.multiplications + other.multiplications,
            self.functions + other.functions,
        )

    def __rmul__(self, times: float) -> "Arithmetic":
        return Arithmetic(
            times * self.additions, times * self.multiplications, times * self.functions
        )


def arithmetic(lines: Iterable[Line]) -> Arithmetic:
    """What the lines of a tape do.

    >>> from spikesim.neurons import LIF
    >>> arithmetic(LIF().bound().program.lines)
    Arithmetic(additions=5, multiplications=2, functions=0)
    """
    operations = [line.op for line in lines]
    return Arithmetic(
        sum(op in ADDITIONS for op in operations),
        sum(op in MULTIPLICATIONS for op in operations),
        sum(op in FUNCTIONS for op in operations),
    )
