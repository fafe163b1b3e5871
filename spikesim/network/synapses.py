"""Which neurons are connected: the compressed rows that every connection rule builds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError

__all__ = ["Synapses"]


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapses of one projection as compressed rows (CSR), one row a source neuron.

    ``target[indptr[i]:indptr[i + 1]]`` are the targets of source ``i``, ascending; a target that
    occurs twice is two synapses. Weights and delays follow the same order.

    Args:
        indptr: int64 ``[n_pre + 1]``.
        target: int32 ``[count]``.
        n_post: size of the target population.
        index: which entry of an array of weights or delays each synapse takes, ``[count]``;
            ``None``: its own. A convolution shares the entries of its kernel so; a list of pairs
            finds its values in the order in which it was given.
        entries: size of the arrays that ``index`` reads.
        distance: between the two neurons, ``[count]``, where a rule knows them in space.

    >>> synapses = Synapses(np.array([0, 2, 3]), np.array([0, 1, 1], np.int32), n_post=2)
    >>> synapses.sources.tolist(), synapses.in_degree.tolist()
    ([0, 0, 1], [1, 2])
    """

    indptr: NDArray[np.int64]
    target: NDArray[np.int32]
    n_post: int
    index: NDArray[np.signedinteger[Any]] | None = None
    entries: int | None = None
    distance: NDArray[np.float32] | None = None

    @property
    def n_pre(self) -> int:
        """Size of the source population."""
        return self.indptr.size - 1

    @property
    def count(self) -> int:
        """Number of synapses."""
        return self.target.size

    @property
    def sources(self) -> NDArray[np.int32]:
        """The source of each synapse, ``[count]``."""
        return np.repeat(np.arange(self.n_pre, dtype=np.int32), self.out_degree)

    @property
    def out_degree(self) -> NDArray[np.int64]:
        """Synapses of each source, ``[n_pre]``."""
        return np.diff(self.indptr)

    @property
    def in_degree(self) -> NDArray[np.int64]:
        """Synapses of each target, ``[n_post]``."""
        return np.bincount(self.target, minlength=self.n_post).astype(np.int64)

    def spread(self, values: ArrayLike) -> NDArray[np.float64]:
        """One value per synapse, ``[count]``, of values given in one of these shapes.

        ``[entries]`` (or any shape of that size, as the kernel of a convolution) is read by
        ``index``; ``[n_pre, n_post]`` at source and target; ``[count]`` follows the rows.

        Raises:
            UserError: the shape is none of these.
        """
        given = np.asarray(values, np.float64)
        if self.index is not None and given.size == self.entries:
            return np.take(given.reshape(-1), self.index)
        if given.shape == (self.n_pre, self.n_post):
            return given[self.sources, self.target]
        if given.shape == (self.count,):
            return given
        shared = f"[{self.entries}] (entries of the rule), " if self.index is not None else ""
        raise UserError(
            f"an array of shape {list(given.shape)} does not fit {self.count} synapses; expected "
            f"{shared}[{self.count}] (one a synapse) or [{self.n_pre}, {self.n_post}] "
            "(source, target)"
        )

    def to_scipy(self, weight: ArrayLike = 1.0) -> Any:
        """A ``scipy.sparse.csr_array [n_pre, n_post]``; a pair connected twice is stored twice."""
        from scipy.sparse import csr_array

        full = np.asarray(weight, np.float64)
        data = np.full(self.count, full) if full.ndim == 0 else self.spread(full)
        return csr_array((data, self.target, self.indptr), shape=(self.n_pre, self.n_post))
