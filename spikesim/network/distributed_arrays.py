"""How arrays of a network are divided among processes, and put together again."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from spikesim.network.distributed import Scalar, Share, contact, gather

Shape = tuple[int, ...]


class Division(Protocol):
    """Which part of an array a process has."""

    def own(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """This process's part."""

    def whole(self, own: NDArray[Scalar]) -> NDArray[Scalar]:
        """The array, on each process; every process must call it."""

    def shape(self, own: Shape) -> Shape:
        """Of the whole array, by that of the part."""


@dataclass(frozen=True)
class ByColumn:
    """The last axis is that of neurons."""

    share: Share

    def own(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """The columns of this process."""
        return self.share.own(whole)

    def whole(self, own: NDArray[Scalar]) -> NDArray[Scalar]:
        """All columns."""
        return self.share.whole(own)

    def shape(self, own: Shape) -> Shape:
        """With all columns."""
        return *own[:-1], self.share.limits[-1]


@dataclass(frozen=True)
class ByRow:
    """The first axis is that of neurons."""

    share: Share

    def own(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """The rows of this process."""
        return self.share.own(whole.T).T

    def whole(self, own: NDArray[Scalar]) -> NDArray[Scalar]:
        """All rows."""
        return self.share.whole(own.T).T

    def shape(self, own: Shape) -> Shape:
        """With all rows."""
        return self.share.limits[-1], *own[1:]


@dataclass(frozen=True)
class Common:
    """Each process that has neurons of a population has all; others have nothing that counts."""

    share: Share

    def own(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """All."""
        return whole

    def whole(self, own: NDArray[Scalar]) -> NDArray[Scalar]:
        """What the first one has, if not all have it."""
        counts = np.diff(self.share.limits)
        if not counts.all():
            found = torch.from_numpy(own.copy())
            with contact():
                dist.broadcast(found, int(counts.argmax()))
            return found.numpy()
        return own

    def shape(self, own: Shape) -> Shape:
        """As it is."""
        return own


@dataclass(frozen=True, eq=False)
class BySynapse:
    """A value for each synapse; in each row a process has those onto its neurons.

    Args:
        starts: ``[rows]``: the first of them among all synapses.
        indptr: ``[rows + 1]``: among those of this process.
        count: all synapses.
        share: of the receivers.
    """

    starts: NDArray[np.int64]
    indptr: NDArray[np.int64]
    count: int
    share: Share

    @property
    def places(self) -> NDArray[np.int64]:
        """Of each synapse of this process its place among all; ascending."""
        many = np.diff(self.indptr)
        return np.repeat(self.starts - self.indptr[:-1], many) + np.arange(self.indptr[-1])

    def own(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """The values of this process's synapses."""
        return whole[self.places]

    def whole(self, own: NDArray[Scalar]) -> NDArray[Scalar]:
        """The values of all synapses."""
        found = np.empty(self.count, own.dtype)
        for starts, indptr, part in gather(self.share.world, (self.starts, self.indptr, own)):
            found[BySynapse(starts, indptr, self.count, self.share).places] = part
        return found

    def shape(self, own: Shape) -> Shape:
        """For all synapses."""
        return (self.count,)
