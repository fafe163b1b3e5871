r"""Values of weights, delays, parameters and first states: constants, arrays or distributions.

Number ``i`` of a draw is a pure function of the seed and ``i``: the float32 uniform or normal of
:mod:`spikesim.random` in the block of counter :math:`(i \bmod 2^{32}, \lfloor i / 2^{32} \rfloor,
\text{attempt}, \mathtt{0xFFFFFF02})`, scaled in float64. A number outside ``[low, high]`` is moved
to the nearer bound (``outside="clip"``), or replaced by those of the next attempts until one lies
inside (``outside="redraw"``), which truncates the distribution.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.kernels.builder import Law
from spikesim.kernels.builder_numba import CpuBuilder
from spikesim.network.given import real, reals
from spikesim.network.synapses import Synapses

__all__ = ["Distribution", "Exponential", "LogNormal", "Normal", "Uniform", "Value", "resolve"]

Outside: TypeAlias = Literal["clip", "redraw"]


class Distribution(ABC):
    """What all distributions can do."""

    low: float
    high: float
    outside: Outside
    _kind: ClassVar[int]
    """Number of the compiled draw."""

    def __post_init__(self) -> None:
        for entry in fields(self):  # type: ignore[arg-type]
            if entry.name != "outside":
                real(entry.name, getattr(self, entry.name), "a number", finite=False)
        if self.low > self.high:
            raise UserError(f"low must be <= high, got {self.low} and {self.high}")
        if self.outside not in ("clip", "redraw"):
            raise UserError(f"outside must be 'clip' or 'redraw', got {self.outside!r}")
        self._scale()

    @abstractmethod
    def _scale(self) -> tuple[float, float]:
        """The two numbers of the compiled draw; checks them."""

    def draw(self, count: int, seed: int) -> NDArray[np.float64]:
        """``count`` independent numbers; equal seeds give equal ones.

        Raises:
            UserError: redrawing found no number inside the bounds in 1000 attempts.
        """
        drawn: NDArray[np.float64] = CpuBuilder().draw(self.law, count, seed, "float64")
        return drawn

    @property
    def law(self) -> Law:
        """What a builder draws from."""
        a, b, low, high = map(float, (*self._scale(), self.low, self.high))
        return Law(self._kind, a, b, low, high, self.outside == "redraw", str(self))


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform between ``low`` and ``high``.

    >>> Uniform(-60.0, -50.0).draw(3, seed=1).round(2).tolist()
    [-55.85, -57.97, -56.85]
    """

    low: float
    high: float
    outside: Outside = field(default="clip", init=False, repr=False)
    _kind = 0

    def _scale(self) -> tuple[float, float]:
        if not np.isfinite(self.high - self.low):
            raise UserError(f"low and high must be finite, got {self.low} and {self.high}")
        return self.low, self.high - self.low


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal with mean ``mean`` and standard deviation ``std``, at most 5.77 ``std`` away."""

    mean: float
    std: float
    low: float = -np.inf
    high: float = np.inf
    outside: Outside = "clip"
    _kind = 1

    def _scale(self) -> tuple[float, float]:
        return _finite("mean", self.mean), _positive("std", self.std)


@dataclass(frozen=True)
class LogNormal(Distribution):
    r"""Exponential of a normal number of mean ``mu`` and deviation ``sigma``.

    Its own mean is :math:`\exp(\mu + \sigma^2 / 2)`.
    """

    mu: float
    sigma: float
    low: float = 0.0
    high: float = np.inf
    outside: Outside = "clip"
    _kind = 2

    def _scale(self) -> tuple[float, float]:
        return _finite("mu", self.mu), _positive("sigma", self.sigma)


@dataclass(frozen=True)
class Exponential(Distribution):
    """Exponential with mean ``mean``, at most 16.7 times the mean."""

    mean: float
    low: float = 0.0
    high: float = np.inf
    outside: Outside = "clip"
    _kind = 3

    def _scale(self) -> tuple[float, float]:
        return _positive("mean", self.mean), 0.0


OfDistance: TypeAlias = Callable[[NDArray[np.float32]], ArrayLike]
Value: TypeAlias = float | ArrayLike | Distribution | OfDistance
"""A constant, an array, a distribution from which each entry is drawn, or, for synapses of a rule
in space, a function of their distances."""


def resolve(
    value: Value, where: Synapses | int, seed: int, name: str = "value"
) -> float | NDArray[np.float64]:
    """One number for all, or one each, in float64.

    Args:
        value: a constant, an array, a distribution, or a function of the distances of synapses.
        where: synapses, whose arrays may have the shapes of :meth:`Synapses.spread`; or how many
            neurons, for arrays of that many entries in any shape. Entries that synapses share
            (those of a convolution) are drawn once and shared.
        seed: of a distribution.
        name: of the value, for errors.

    Raises:
        UserError: an array does not fit, a value is not finite, or there are no distances.
    """
    if isinstance(value, Distribution):
        if isinstance(where, int):
            return value.draw(where, seed)
        count = where.count if where.entries is None else where.entries
        return where.spread(value.draw(count, seed))
    if callable(value):
        if isinstance(where, int) or where.distance is None:
            raise UserError("a function of distance needs synapses of a rule that knows positions")
        value = value(where.distance)
    given = reals(name, value)
    if given.ndim == 0:
        return float(given)
    if not isinstance(where, int):
        return where.spread(given)
    if given.size != where:
        raise UserError(
            f"an array of shape {list(given.shape)} does not fit {where} neurons; "
            f"expected [{where}]"
        )
    return given.reshape(-1)


def _positive(name: str, value: float) -> float:
    if not 0.0 <= value < np.inf:
        raise UserError(f"{name} must be >= 0 and finite, got {value}")
    return value


def _finite(name: str, value: float) -> float:
    if not np.isfinite(value):
        raise UserError(f"{name} must be finite, got {value}")
    return value
