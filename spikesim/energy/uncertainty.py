r"""How sure an energy is: intervals from the constants' ranges, and which constant decides.

Each constant is drawn from a triangle over the logarithm of its range, with its published value at
the peak; of one of which the range begins at 0, over the range itself. Energies are linear in
constants, :math:`E = \sum_k n_k c_k`, so that all draws are one matrix product. Constants that two
models share are drawn once for both: a ratio is surer than its parts.

An interval speaks of the constants alone, not of what a model leaves out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.energy.layer import Counts
from spikesim.energy.model import UNITS, Constant, EnergyModel
from spikesim.errors import UserError

Form: TypeAlias = Mapping[tuple[str, Constant], float]
"""Joule for a unit of each constant."""


@dataclass(frozen=True)
class Interval:
    """A value and between what it lies.

    Attributes:
        value: with the published constants.
        low, high: quantiles.
        level: probability between them.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Bar:
    """What one constant decides.

    Attributes:
        name: of the constant.
        constant: with its range and source.
        low, high: energy with the constant at the ends of its range, joule.
    """

    name: str
    constant: Constant
    low: float
    high: float


def form(model: EnergyModel, counts: Counts) -> Form:
    """How often one sample spends each constant."""
    found = dict[tuple[str, Constant], float]()
    for layer in counts:
        for term in model.terms(layer, counts):
            constant = model.constants[term.constant]
            key = term.constant, constant
            found[key] = found.get(key, 0.0) + term.count * UNITS[constant.unit]
    return found


def evaluate(form: Form) -> float:
    """Joule with the published constants."""
    return sum(count * constant.value for (_, constant), count in form.items())


def interval(
    form: Form,
    *,
    value: float | None = None,
    level: float = 0.95,
    draws: int = 4096,
    seed: int = 0,
) -> Interval:
    """Of an energy, joule.

    Args:
        form: of a model and counts, by :func:`form`.
        value: the energy, where it was added up in another order; by default that of the form.
        level: probability that the interval holds.
        draws: of all constants.
        seed: of the draws.

    Raises:
        UserError: a level that is no probability, or too few draws.
    """
    spent = _energies([form], draws, seed)[0]
    return _interval(evaluate(form) if value is None else value, spent, level)


def ratio(
    form: Form, other: Form, *, level: float = 0.95, draws: int = 4096, seed: int = 0
) -> Interval:
    """Of one energy to another, with shared constants drawn once; as :func:`interval`."""
    ours, theirs = _energies([form, other], draws, seed)
    whole = evaluate(other)
    if not whole or not theirs.all():
        raise UserError("the ratio to an energy of 0 is not defined")
    return _interval(evaluate(form) / whole, ours / theirs, level)


def sensitivity(form: Form) -> tuple[Bar, ...]:
    """The energy with each constant at the ends of its range, the widest first."""
    total = evaluate(form)
    bars = [
        Bar(
            name,
            constant,
            total + count * (constant.low - constant.value),
            total + count * (constant.high - constant.value),
        )
        for (name, constant), count in form.items()
    ]
    return tuple(sorted(bars, key=lambda bar: bar.low - bar.high))


def _energies(forms: list[Form], draws: int, seed: int) -> NDArray[np.float64]:
    """Energies ``[forms, draws]``."""
    if draws < 2:
        raise UserError(f"draws must be >= 2, got {draws}")
    if not (isinstance(seed, Integral) and seed >= 0):
        raise UserError(f"seed must be a whole number >= 0, got {seed!r}")
    keys = sorted(set().union(*forms), key=lambda key: (key[0], key[1].source))
    counts = np.array([[form.get(key, 0.0) for key in keys] for form in forms])  # [F, K]
    rng = np.random.default_rng(seed)
    drawn = np.array([_draw(constant, draws, rng) for _, constant in keys])  # [K, draws]
    energies: NDArray[np.float64] = counts @ drawn.reshape(len(keys), draws)
    return energies


def _draw(constant: Constant, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    low, value, high = constant.low, constant.value, constant.high
    if low == high:
        return np.full(draws, value)
    if low <= 0.0:
        return rng.triangular(low, value, high, draws)
    return np.exp(rng.triangular(np.log(low), np.log(value), np.log(high), draws))


def _interval(value: float, drawn: NDArray[np.float64], level: float) -> Interval:
    if not 0.0 < level < 1.0:
        raise UserError(f"level must be between 0 and 1, got {level}")
    tail = (1.0 - level) / 2
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    # A value at the end of its range lies outside of all quantiles.
    return Interval(value, min(float(low), value), max(float(high), value), level)
