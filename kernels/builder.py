"""What synapses are made with: on the CPU by numba, on a GPU by CUDA kernels, bit for bit the same.

Each number is a pure function of the seed and of where it stands, so that any number of threads, of
either kind, draws the same ones; sums are of whole numbers, in any order the same.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError

Array: TypeAlias = Any
"""A numpy array, or a tensor on the builder's device."""
Rows: TypeAlias = tuple[Array, Array]
"""``indptr [rows + 1]``, int64, and the columns, int32, ascending inside a row."""

ATTEMPTS = 1000
"""To draw a number inside its bounds."""


@dataclass(frozen=True)
class Law:
    """A distribution as :mod:`spikesim.kernels.values_numba` draws from it."""

    kind: int
    a: float
    b: float
    low: float
    high: float
    is_redrawn: bool
    """Numbers outside of the bounds are drawn anew; else they are moved to them."""
    name: str


class Builder(ABC):
    """Rows, values and sums of the synapses of a projection.

    Rules with ``skip`` leave out the pairs of equal row and column.

    Args:
        threads: of the CPU that share the work.
    """

    is_cpu: bool
    bytes_each: int
    """Of memory that a synapse needs at the peak, where that is not the CPU's."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def free_bytes(self) -> int | None:
        """Memory that can be had, if it is known."""
        return None

    @abstractmethod
    def every_pair(self, n_pre: int, n_post: int, *, skip: bool) -> Rows:
        """Each source reaches each target."""

    @abstractmethod
    def diagonal(self, size: int) -> Rows:
        """Source ``i`` reaches target ``i``."""

    @abstractmethod
    def bernoulli(self, rows: int, columns: int, p: float, *, skip: bool, seed: int) -> Rows:
        """Each row takes each column with probability ``p``, to 2**-32."""

    @abstractmethod
    def indegree(
        self, n_pre: int, n_post: int, degree: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """Each target draws ``degree`` sources, different ones if ``distinct``."""

    @abstractmethod
    def outdegree(
        self, n_pre: int, n_post: int, degree: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """Each source draws ``degree`` targets, different ones if ``distinct``."""

    @abstractmethod
    def pairs(
        self, total: int, n_pre: int, n_post: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """``total`` pairs, different ones if ``distinct``."""

    def draw(self, law: Law, count: int, seed: int, dtype: str) -> Array:
        """``count`` numbers, drawn in float64 and rounded to ``dtype``.

        Raises:
            UserError: redrawing found no number inside the bounds in 1000 attempts.
        """
        return self._drawn(law, count, seed, 0.0, dtype)

    def draw_steps(self, law: Law, count: int, seed: int, dt: float) -> Array:
        """``count`` numbers in steps of ``dt``, rounded to the nearest, one at least; int32."""
        return self._drawn(law, count, seed, dt, "int32")

    def _drawn(self, law: Law, count: int, seed: int, dt: float, dtype: str) -> Array:
        out = self._empty(count, dtype)
        if self._draw(law, seed, dt, out):
            raise UserError(
                f"{law.name} gave no number between low and high in {ATTEMPTS} attempts; widen "
                "the bounds or pass outside='clip'"
            )
        return out

    @abstractmethod
    def _draw(self, law: Law, seed: int, dt: float, out: Array) -> int:
        """Fill ``out``; returns how many are outside of the bounds."""

    @abstractmethod
    def _empty(self, count: int, dtype: str) -> Array: ...

    @abstractmethod
    def limits(self, values: Array) -> tuple[float, float]:
        """The least and the largest of at least one value."""

    @abstractmethod
    def place(self, target: Array, steps: Array | None, neurons: int, dtype: str) -> Array:
        """``steps * neurons + target``, or the targets alone, as ``"uint16"`` or ``"uint32"``."""

    def tally(
        self, place: Array, weight: Array | None, neurons: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """For each target the sum of ``|weight|`` and the number of synapses.

        The sum is one of multiples of 2**-31 of the largest weight or less, each rounded up.
        """
        scale = 0.0
        if weight is not None:
            low, high = self.limits(weight)
            scale = 2.0 ** min(31 - math.frexp(max(-low, high))[1], 1000)
        sums, terms = self._tally(place, weight, neurons, scale)
        return sums / (scale or 1.0), terms.astype(np.float64)

    @abstractmethod
    def _tally(
        self, place: Array, weight: Array | None, neurons: int, scale: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...

    @abstractmethod
    def count_nonzero(self, values: Array) -> int:
        """How many values are not 0."""

    @abstractmethod
    def whole(self, weight: Array, quantum: float) -> Array:
        """Weights in quanta, int32 for float32 and int64 for float64, rounded to the nearest."""

    @abstractmethod
    def upload(self, values: NDArray[Any]) -> Array:
        """An array of this builder."""

    @abstractmethod
    def download(self, values: Array) -> NDArray[Any]:
        """A numpy array."""
