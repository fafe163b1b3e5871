"""Synapses made on the CPU: numpy arrays, filled by compiled loops on several threads."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels import connect
from spikesim.kernels.builder import ATTEMPTS, Builder, Law
from spikesim.kernels.connect import Rows, shared, words_of


class CpuBuilder(Builder):
    """Synapses as numpy arrays."""

    is_cpu = True
    bytes_each = 0

    def every_pair(self, n_pre: int, n_post: int, *, skip: bool) -> Rows:
        """Each source reaches each target."""
        columns = max(n_post - skip, 0)
        target = np.empty((n_pre, columns), np.int32)
        target[:] = np.arange(columns, dtype=np.int32)
        for row in range(n_pre if skip else 0):
            target[row, row:] += 1
        return np.arange(n_pre + 1) * columns, target.reshape(-1)

    def diagonal(self, size: int) -> Rows:
        """Source ``i`` reaches target ``i``."""
        return np.arange(size + 1), np.arange(size, dtype=np.int32)

    def bernoulli(self, rows: int, columns: int, p: float, *, skip: bool, seed: int) -> Rows:
        """By the gaps between the columns of a row."""
        return connect.bernoulli(rows, columns, p, skip=skip, seed=seed, threads=self.threads)

    def indegree(
        self, n_pre: int, n_post: int, degree: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """Sources by target, turned round while they are drawn."""
        return self._rows(n_post, n_pre, degree, skip, distinct, seed)

    def outdegree(
        self, n_pre: int, n_post: int, degree: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """As :meth:`indegree`, and turned round once more, which sorts them."""
        by_target = self._rows(n_pre, n_post, degree, skip, distinct, seed)
        return connect.transposed(by_target, n_pre, threads=self.threads)

    def _rows(
        self, rows: int, columns: int, degree: int, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        how = (rows, columns, degree)
        return connect.drawn(*how, skip=skip, distinct=distinct, seed=seed, threads=self.threads)

    def pairs(
        self, total: int, n_pre: int, n_post: int, *, skip: bool, distinct: bool, seed: int
    ) -> Rows:
        """By target, and turned round, which sorts them."""
        if distinct:
            return connect.distinct_pairs(total, n_pre, n_post, skip=skip, seed=seed)
        return connect.pairs(total, n_pre, n_post, skip=skip, seed=seed, threads=self.threads)

    def _draw(self, law: Law, seed: int, dt: float, out: NDArray[Any]) -> int:
        from spikesim.kernels.values_numba import draw

        attempts = ATTEMPTS if law.is_redrawn else 0
        how = (law.kind, law.a, law.b, law.low, law.high, attempts, words_of(seed), dt, out)
        return sum(shared(lambda _, *part: draw(*part, *how), out.size, self.threads))

    def _empty(self, count: int, dtype: str) -> NDArray[Any]:
        return np.empty(count, dtype)

    def limits(self, values: NDArray[Any]) -> tuple[float, float]:
        """The least and the largest of at least one value."""

        def work(_: int, first: int, last: int) -> tuple[float, float]:
            part = values[first:last]
            return float(part.min()), float(part.max())

        lows, highs = zip(*shared(work, values.size, self.threads), strict=True)
        return min(lows), max(highs)

    def place(
        self, target: NDArray[Any], steps: NDArray[Any] | None, neurons: int, dtype: str
    ) -> NDArray[Any]:
        """``steps * neurons + target``, or the targets alone."""
        from spikesim.kernels.synapses_numba import place

        out = np.empty(target.size, dtype)
        how = (target, target[:0] if steps is None else steps, neurons, out)
        shared(lambda _, *part: place(*part, *how), out.size, self.threads)
        return out

    def _tally(
        self, place: NDArray[Any], weight: NDArray[Any] | None, neurons: int, scale: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        from spikesim.kernels.synapses_numba import tally

        weights = np.empty(0) if weight is None else weight
        sums = np.zeros((self.threads, neurons), np.int64)
        terms = np.zeros((self.threads, neurons), np.int64)

        def work(i: int, first: int, last: int) -> None:
            tally(first, last, place, weights, scale, sums[i], terms[i])

        shared(work, place.size, self.threads)
        return sums.sum(0), terms.sum(0)

    def count_nonzero(self, values: NDArray[Any]) -> int:
        """How many values are not 0."""

        def work(_: int, first: int, last: int) -> int:
            return int(np.count_nonzero(values[first:last]))

        return sum(shared(work, values.size, self.threads))

    def whole(self, weight: NDArray[Any], quantum: float) -> NDArray[Any]:
        """Weights in quanta."""
        from spikesim.kernels.synapses_numba import whole

        out = np.empty(weight.size, np.int32 if weight.dtype == np.float32 else np.int64)
        shared(lambda _, *part: whole(*part, weight, quantum, out), out.size, self.threads)
        return out

    def upload(self, values: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return values

    def download(self, values: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return values
