"""Connections whose probability depends on distance, in one, two or three dimensions.

A profile is any function of an array of distances that gives probabilities; those below are the
usual ones. Positions, lengths and distances share one unit, whichever it is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.kernels.connect import words_of
from spikesim.network.given import probability, real, reals, whole
from spikesim.network.neighbours import PAIRS, Neighbours
from spikesim.network.rule import Rule
from spikesim.network.synapses import Synapses

__all__ = ["DistanceDependent", "ExponentialProfile", "FlatProfile", "GaussianProfile", "lattice"]

Real: TypeAlias = NDArray[np.float64]
Profile: TypeAlias = Callable[[Real], ArrayLike]

SAMPLE = 256
"""Sources whose distances are looked at to foretell the number of synapses."""


@dataclass(frozen=True)
class GaussianProfile:
    r"""Probability :math:`p\, e^{-d^2 / 2 \sigma^2}`."""

    sigma: float
    p: float = 1.0

    def __post_init__(self) -> None:
        _check_profile(self.p, "sigma", self.sigma)

    def __call__(self, distance: Real) -> Real:
        """Probability at each distance."""
        return self.p * np.exp(-0.5 * (distance / self.sigma) ** 2)


@dataclass(frozen=True)
class ExponentialProfile:
    r"""Probability :math:`p\, e^{-d / \lambda}`."""

    length: float
    p: float = 1.0

    def __post_init__(self) -> None:
        _check_profile(self.p, "length", self.length)

    def __call__(self, distance: Real) -> Real:
        """Probability at each distance."""
        return self.p * np.exp(-distance / self.length)


@dataclass(frozen=True)
class FlatProfile:
    """Probability ``p`` at each distance; with the ``radius`` of the rule, a disc or a ball."""

    p: float = 1.0

    def __post_init__(self) -> None:
        _check_profile(self.p, "length", 1.0)

    def __call__(self, distance: Real) -> Real:
        """Probability at each distance."""
        return np.full_like(distance, self.p)


@dataclass(frozen=True, eq=False)
class DistanceDependent(Rule):
    """Each pair is connected with a probability that depends on its distance.

    The draw of a pair depends on the seed and the two neurons alone. Weights and delays may be
    functions of the distance, too: ``delay=lambda d: 0.5 + d / 0.3``.

    Args:
        profile: probability of an array of distances, as :class:`GaussianProfile`,
            :class:`ExponentialProfile`, :class:`FlatProfile` or a function of yours.
        pre: positions of the sources, ``[n_pre, D]`` with D = 1, 2 or 3; see :func:`lattice`.
        post: of the targets; by default those of the sources.
        radius: pairs further apart are not connected. Only near ones are looked at, so that a
            cut-off makes a large network cheap.
        period: size of a space that closes on itself (a ring, a torus), one length for each of
            the D axes.
        autapses: see :mod:`spikesim.network.connect`.
    """

    profile: Profile
    pre: ArrayLike
    post: ArrayLike | None = None
    radius: float = np.inf
    period: ArrayLike | None = None
    autapses: bool = True
    _bytes_each = 16

    def __post_init__(self) -> None:
        if not real("radius", self.radius, "> 0", finite=False) > 0.0:
            raise UserError(f"radius must be > 0, got {self.radius}")
        if not callable(self.profile):
            raise UserError(f"profile must be one such as FlatProfile(0.1), got {self.profile!r}")
        axes = _positions("pre", self.pre).shape[1]
        if self.post is not None and _positions("post", self.post).shape[1] != axes:
            raise UserError(f"pre has {axes} axes, post {_positions('post', self.post).shape[1]}")
        if self.period is not None:
            period = reals("period", self.period)
            if period.shape != (axes,) or not (period > 0.0).all():
                raise UserError(f"period must be {axes} lengths > 0, got {self.period}")

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse populations of other sizes than the positions."""
        for name, size, given in (("pre", n_pre, self.pre), ("post", n_post, self._targets)):
            if size != len(np.asarray(given)):
                raise UserError(
                    f"{name} has positions of {len(np.asarray(given))} neurons, the population "
                    f"has {size}"
                )

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """Mean over all draws, from at most 256 sources that are spread evenly."""
        self.check(n_pre, n_post, same)
        if n_pre == 0:
            return 0
        near = self._neighbours(same)
        # Multiples of the golden ratio keep out of step with the rows of a lattice.
        rows = (np.arange(min(SAMPLE, n_pre)) * 0.6180339887498949 % 1.0 * n_pre).astype(np.int64)
        sums = [self._probability(near.pairs(row, row + 1)[1]).sum() for row in rows]
        return int(np.ceil(np.mean(sums) * n_pre))

    def memory(self, n_pre: int, n_post: int, *, same: bool = False, threads: int = 1) -> int:
        """Bytes at the peak of the build, those of the pairs that are looked at included."""
        looks = 32 * threads * min(PAIRS, n_pre * n_post)
        return super().memory(n_pre, n_post, same=same, threads=threads) + looks

    def _build(self, n_pre: int, n_post: int, same: bool, seed: int, threads: int) -> Synapses:
        from spikesim.kernels.space_numba import keep_pairs

        near = self._neighbours(same)
        targets, distances = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        indptr = np.zeros(n_pre + 1, np.int64)

        def draw(rows: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
            target, distance, counts = near.pairs(*rows)
            p = self._probability(distance)
            left = keep_pairs(rows[0], p, words_of(seed), target, distance, counts)
            indptr[rows[0] + 1 : rows[1] + 1] = counts
            return target[:left].copy(), distance[:left].astype(np.float32)

        with ThreadPoolExecutor(threads) as pool:
            for target, distance in pool.map(draw, near.chunks()):
                targets.append(target)
                distances.append(distance)
        np.cumsum(indptr, out=indptr)
        target, distance = np.concatenate(targets), np.concatenate(distances)
        return Synapses(indptr, target, n_post, distance=distance)

    def _neighbours(self, same: bool) -> Neighbours:
        pre, post = (_positions("", given) for given in (self.pre, self._targets))
        axes = pre.shape[1]
        period = np.zeros(3)
        if self.period is not None:
            period[:axes] = np.asarray(self.period, np.float64)
            pre, post = pre % period[:axes], post % period[:axes]
        full = [(0, 0), (0, 3 - axes)]
        skip = same and not self.autapses
        return Neighbours(np.pad(pre, full), np.pad(post, full), period, self.radius, skip)

    @property
    def _targets(self) -> ArrayLike:
        return self.pre if self.post is None else self.post

    def _probability(self, distance: Real) -> Real:
        p = np.asarray(self.profile(distance))
        if p.dtype.kind not in "biuf" or p.shape not in ((), distance.shape):
            raise UserError(
                f"the profile gives {p.dtype} {list(p.shape)} of {list(distance.shape)} distances; "
                "a probability is needed for each"
            )
        p = np.broadcast_to(p, distance.shape)
        wrong = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)))
        if wrong.size:
            raise UserError(
                f"the profile gives {p[wrong[0]]} at distance {distance[wrong[0]]:g}; a "
                "probability lies between 0 and 1"
            )
        return p


def lattice(shape: tuple[int, ...], extent: tuple[float, ...] | None = None) -> Real:
    """Positions of the neurons of a population of that shape, ``[count, D]``, in its order.

    Args:
        shape: neurons along each axis.
        extent: size of the space, whose cells have a neuron each in their middle; by default
            neurons are 1 apart.

    >>> lattice((2, 2), extent=(1.0, 1.0)).tolist()
    [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    """
    size = extent if extent is not None else shape
    if np.ndim(shape) != 1 or np.shape(shape) != np.shape(size):
        raise UserError(
            f"shape and extent must have an entry an axis, got {shape!r} and {extent!r}"
        )
    for n in shape:
        whole("an entry of shape", n, 1)
    axes = [(np.arange(n) + 0.5) * (s / n) for n, s in zip(shape, size, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))


def _positions(name: str, values: ArrayLike) -> Real:
    given = reals(f"positions {name}", values)
    if given.ndim != 2 or not 1 <= given.shape[1] <= 3:
        raise UserError(f"{name} must be positions [count, 1 to 3], got shape {list(given.shape)}")
    return given


def _check_profile(p: float, name: str, length: float) -> None:
    probability(p)
    if not real(name, length, "> 0", finite=False) > 0.0:
        raise UserError(f"{name} must be > 0, got {length}")
