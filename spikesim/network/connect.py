"""Connection rules: which neuron of one population reaches which of another.

A rule is a frozen dataclass; ``rule.build(n_pre, n_post, same=..., seed=...)`` makes the
:class:`~spikesim.network.synapses.Synapses`. The same seed gives the same synapses, whatever the
number of threads. Where a rule has them, ``autapses`` lets a neuron of a population that is
connected to itself (``same``) reach itself, and ``multapses`` lets one pair have several synapses;
both are allowed unless refused, as in NEST.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.kernels.builder import Builder, Rows
from spikesim.kernels.connect import grouped
from spikesim.network.given import probability, whole
from spikesim.network.rule import DrawnRule, Rule
from spikesim.network.synapses import Synapses

__all__ = [
    "AllToAll",
    "Explicit",
    "FixedIndegree",
    "FixedOutdegree",
    "FixedProbability",
    "FixedTotalNumber",
    "OneToOne",
    "Rule",
    "Synapses",
]


@dataclass(frozen=True)
class AllToAll(DrawnRule):
    """Each source reaches each target once.

    >>> AllToAll(autapses=False).build(3, 3, same=True).target.tolist()
    [1, 2, 0, 2, 0, 1]
    """

    autapses: bool = True

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """Every pair."""
        return n_pre * _choices(n_post, same and not self.autapses)

    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows:
        return builder.every_pair(n_pre, n_post, skip=same and not self.autapses)


@dataclass(frozen=True)
class OneToOne(DrawnRule):
    """Source ``i`` reaches target ``i``."""

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """One a source."""
        return n_pre

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse populations of different sizes."""
        if n_pre != n_post:
            raise UserError(f"one-to-one needs equal sizes, got {n_pre} sources, {n_post} targets")

    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows:
        return builder.diagonal(n_pre)


@dataclass(frozen=True)
class FixedProbability(DrawnRule):
    """Each pair is connected with probability ``p``, independently of all others.

    Args:
        p: between 0 and 1.
        autapses: see :mod:`spikesim.network.connect`.
    """

    p: float
    autapses: bool = True

    def __post_init__(self) -> None:
        probability(self.p)

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """``p`` times the number of pairs."""
        return int(np.ceil(self.p * n_pre * _choices(n_post, same and not self.autapses)))

    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows:
        skip = same and not self.autapses
        return builder.bernoulli(n_pre, n_post, self.p, skip=skip, seed=seed)


@dataclass(frozen=True)
class FixedIndegree(DrawnRule):
    """Each target draws ``k`` sources, all equally likely.

    Args:
        k: synapses of each target.
        autapses: see :mod:`spikesim.network.connect`.
        multapses: a target may draw a source again; otherwise its sources differ.

    >>> FixedIndegree(2).build(5, 3, seed=1).in_degree.tolist()
    [2, 2, 2]
    """

    k: int
    autapses: bool = True
    multapses: bool = True

    def __post_init__(self) -> None:
        whole("the indegree k", self.k, 0)

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """``k`` a target."""
        return self.k * n_post

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse more sources than there are."""
        choices = _choices(n_pre, same and not self.autapses)
        _check_degree("indegree", "source", self.k, choices, n_post, self.multapses)

    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows:
        skip, distinct = same and not self.autapses, not self.multapses
        return builder.indegree(n_pre, n_post, self.k, skip=skip, distinct=distinct, seed=seed)


@dataclass(frozen=True)
class FixedOutdegree(DrawnRule):
    """Each source draws ``k`` targets, all equally likely.

    Args:
        k: synapses of each source.
        autapses: see :mod:`spikesim.network.connect`.
        multapses: a source may draw a target again; otherwise its targets differ.
    """

    k: int
    autapses: bool = True
    multapses: bool = True
    _bytes_each = 8

    def __post_init__(self) -> None:
        whole("the outdegree k", self.k, 0)

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """``k`` a source."""
        return self.k * n_pre

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse more targets than there are."""
        choices = _choices(n_post, same and not self.autapses)
        _check_degree("outdegree", "target", self.k, choices, n_pre, self.multapses)

    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows:
        skip, distinct = same and not self.autapses, not self.multapses
        return builder.outdegree(n_pre, n_post, self.k, skip=skip, distinct=distinct, seed=seed)


@dataclass(frozen=True)
class FixedTotalNumber(DrawnRule):
    """``n`` synapses whose pairs are drawn from all pairs, equally likely.

    Args:
        n: number of synapses.
        autapses: see :mod:`spikesim.network.connect`.
        multapses: a pair may be drawn again; otherwise all pairs differ, which needs more time
            and memory (25 bytes a synapse at the peak).
    """

    n: int
    autapses: bool = True
    multapses: bool = True

    def __post_init__(self) -> None:
        whole("the number of synapses n", self.n, 0)

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """The number that was given."""
        return self.n

    def memory(self, n_pre: int, n_post: int, *, same: bool = False, threads: int = 1) -> int:
        """Bytes at the peak of the build."""
        neurons = 8 * (n_pre + 1) + 16 * threads * max(n_pre, n_post)
        if self.multapses:
            return neurons + 8 * self.n
        every = n_pre * n_post
        if 2 * self.n <= every:
            return neurons + 25 * self.n
        return neurons + 25 * (every - self.n) + every + 12 * self.n

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse more synapses than there are pairs."""
        choices = n_pre * _choices(n_post, same and not self.autapses)
        if self.n > 0 and choices == 0:
            raise UserError(f"{self.n} synapses need at least one pair, got none to draw from")
        if self.n > choices and not self.multapses:
            raise UserError(
                f"{self.n} synapses without multapses need as many pairs, there are {choices}; "
                "pass multapses=True or a smaller n"
            )

    def _rows(self, builder: Builder, n_pre: int, n_post: int, same: bool, seed: int) -> Rows:
        skip, distinct = same and not self.autapses, not self.multapses
        return builder.pairs(self.n, n_pre, n_post, skip=skip, distinct=distinct, seed=seed)


@dataclass(frozen=True, eq=False)
class Explicit(Rule):
    """The given pairs, ``pre[i]`` to ``post[i]``; a pair given twice is two synapses.

    Arrays of weights and delays are given in the order of the pairs, which may be any.

    Args:
        pre: index of each source.
        post: index of each target.

    >>> rule = Explicit(pre=[1, 0], post=[0, 2])
    >>> rule.build(2, 3).spread([0.5, 0.7]).tolist()  # the row of source 0 comes first
    [0.7, 0.5]
    """

    pre: ArrayLike
    post: ArrayLike
    _bytes_each = 20

    def __post_init__(self) -> None:
        for name in ("pre", "post"):
            object.__setattr__(self, name, _indices(name, getattr(self, name)))
        if self._pre.size != self._post.size:
            raise UserError(
                f"pre and post must be of one length, got {self._pre.size} and {self._post.size}"
            )

    @classmethod
    def from_csr(cls, indptr: ArrayLike, indices: ArrayLike) -> "Explicit":
        """The pairs of compressed rows: ``indices[indptr[i]:indptr[i + 1]]`` are targets of ``i``.

        Raises:
            UserError: ``indptr`` does not rise from 0 to the number of indices.
        """
        starts, post = _indices("indptr", indptr), _indices("indices", indices)
        degrees = np.diff(starts)
        if starts.size == 0 or starts[0] != 0 or starts[-1] != post.size or (degrees < 0).any():
            raise UserError(f"indptr must rise from 0 to the number of indices, {post.size}")
        return cls(np.repeat(np.arange(degrees.size), degrees), post)

    @classmethod
    def from_scipy(cls, matrix: Any) -> "Explicit":
        """The stored entries of a ``scipy.sparse`` matrix ``[n_pre, n_post]``, zeros among them.

        Of a COO, CSR or CSC matrix, ``weight=matrix.data`` are the matching weights.
        """
        if not hasattr(matrix, "tocoo"):
            raise UserError(f"the matrix must be one of scipy.sparse, got {type(matrix).__name__}")
        pairs = matrix.tocoo()
        return cls(pairs.row, pairs.col)

    @property
    def _pre(self) -> NDArray[np.int64]:
        return np.asarray(self.pre)

    @property
    def _post(self) -> NDArray[np.int64]:
        return np.asarray(self.post)

    def expected(self, n_pre: int, n_post: int, *, same: bool = False) -> int:
        """The number of pairs."""
        return self._pre.size

    def check(self, n_pre: int, n_post: int, same: bool) -> None:
        """Refuse the first index that is out of range."""
        for name, index, size in (("pre", self._pre, n_pre), ("post", self._post, n_post)):
            if index.size and not 0 <= index.min() <= index.max() < size:
                place = int(np.flatnonzero((index < 0) | (index >= size))[0])
                raise UserError(
                    f"{name}[{place}] = {index[place]} is out of range: the population has "
                    f"{size} neurons, 0 to {size - 1}"
                )

    def _build(self, n_pre: int, n_post: int, same: bool, seed: int, threads: int) -> Synapses:
        indptr, target, order = grouped(self._pre, self._post, n_pre, n_post)
        return Synapses(indptr, target, n_post, order, order.size)


def _choices(count: int, skip: bool) -> int:
    """How many neurons one can draw from, without itself if ``skip``."""
    return max(count - skip, 0)


def _check_degree(degree: str, kind: str, k: int, choices: int, rows: int, multapses: bool) -> None:
    if rows == 0 or k == 0:
        return
    if choices == 0:
        raise UserError(f"an {degree} of {k} needs at least one {kind}, there is none to draw")
    if k > choices and not multapses:
        raise UserError(
            f"an {degree} of {k} without multapses needs as many {kind}s, there are {choices}; "
            f"pass multapses=True or k <= {choices}"
        )


def _indices(name: str, values: ArrayLike) -> NDArray[np.int64]:
    given = np.asarray(values)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise UserError(
            f"{name} must be whole numbers of shape [count], got {given.dtype} of shape "
            f"{list(given.shape)}"
        )
    return given.astype(np.int64, copy=False)
