"""Probes: what is kept of a run. The time of a step is that of its end, ``(n + 1) dt``."""

import copy
from typing import Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError, nearest
from spikesim.kernels.threads import share
from spikesim.network.distributed import gather
from spikesim.network.grid import period
from spikesim.network.population import Group, Population, Real, spikes_only

Scalar = TypeVar("Scalar", bound=np.generic)

_COUNTED = 1 << 16
"""Words of spikes whose senders are listed at once."""


class Probe:
    """What all probes share: whom they watch, and when they began.

    Attributes:
        group: the population, or trains of spikes, that it watches.
        neurons: indices of those watched. Of several processes each watches its own ones;
            :meth:`gather` puts together what they recorded.
    """

    def __init__(self, group: Group, neurons: ArrayLike | None, dt: float, step: int) -> None:
        self.group, self.dt, self.first = group, dt, step
        self._chosen = group.chosen(neurons)
        self.neurons = self._chosen[group.share.has(self._chosen)]
        self.step = step
        """The next step to be recorded."""

    def clear(self) -> None:
        """Forget what was recorded so far."""
        self.first = self.step

    def gather(self) -> Self:
        """The probe as one process would have it: with what all of them recorded so far.

        Every process must call it, and has the result. It costs memory for all that was recorded.
        """
        whole = copy.copy(self)
        if not self.group.share.is_whole:
            whole.neurons = self._chosen
            whole._merge(self)
        return whole

    def _merge(self, own: Self) -> None:
        """Take what this process and the others recorded."""


class SpikeProbe(Probe):
    """Spikes of a group, or of some of its neurons; made by :meth:`Network.probe`."""

    def __init__(self, group: Group, neurons: ArrayLike | None, dt: float, step: int) -> None:
        super().__init__(group, neurons, dt, step)
        self._mask: NDArray[np.bool_] | None = None
        if neurons is not None:
            self._mask = np.zeros(group.size, np.bool_)
            self._mask[self.neurons] = True
        self._steps: list[NDArray[np.int64]]
        self._senders: list[NDArray[np.int32]]
        self.clear()

    def take(self, bits: NDArray[np.uint32]) -> None:
        """Keep the spikes of the next steps, ``[steps, words]``."""
        steps, senders = decoded(bits, self.step, self.group.share.first)
        if self._mask is not None:
            kept = self._mask[senders]
            steps, senders = steps[kept], senders[kept]
        self._steps.append(steps)
        self._senders.append(senders)
        self.step += len(bits)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        super().clear()
        self._steps, self._senders = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]

    def _merge(self, own: Self) -> None:
        parts = gather(self.group.share.world, (own.steps, own.senders))
        steps, senders = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((senders, steps))
        self._steps, self._senders = [steps[order]], [senders[order]]

    @property
    def steps(self) -> NDArray[np.int64]:
        """The step of each spike, ascending."""
        return _joined(self._steps)

    @property
    def senders(self) -> NDArray[np.int32]:
        """The neuron of each spike, ascending within a step."""
        return _joined(self._senders)

    @property
    def times(self) -> NDArray[np.float64]:
        """The time of each spike, ms."""
        return _ends(self.steps, self.dt)

    def __len__(self) -> int:
        return int(self.steps.size)

    @property
    def duration(self) -> float:
        """Time recorded, ms."""
        return (self.step - self.first) * self.dt

    @property
    def rate(self) -> float:
        """Mean rate of the neurons watched, Hz; 0 before anything is recorded."""
        seconds = self.duration * 1e-3 * np.unique(self.neurons).size
        return len(self) / seconds if seconds else 0.0


class SpikeCountProbe(Probe):
    """How often each neuron of a group spiked, ``counts``: a number a neuron, however long."""

    def __init__(self, group: Group, dt: float, step: int) -> None:
        super().__init__(group, None, dt, step)
        self.counts: NDArray[np.int64]
        self.clear()

    def take(self, bits: NDArray[np.uint32]) -> None:
        """Count the spikes of the next steps, ``[steps, words]``."""
        rows = max(_COUNTED // max(bits.shape[1], 1), 1)
        for first in range(0, len(bits), rows):
            _, senders = decoded(bits[first : first + rows], 0, self.group.share.first)
            self.counts += np.bincount(senders, minlength=self.group.size)
        self.step += len(bits)

    def clear(self) -> None:
        """Forget what was counted so far."""
        super().clear()
        self.counts = np.zeros(self.group.size, np.int64)

    def _merge(self, own: Self) -> None:
        self.counts = np.sum(gather(self.group.share.world, own.counts), axis=0)


class SampledProbe(Probe):
    """What probes with a value every so many steps share; an unfinished one is left out."""

    every: int
    """Steps from one value to the next."""

    @property
    def recorded(self) -> int:
        """How many values there are, of each neuron."""
        return (self.step - self.first) // self.every

    @property
    def times(self) -> NDArray[np.float64]:
        """When each value's steps end, ms."""
        return _ends(self.first - 1 + self.every * np.arange(1, self.recorded + 1), self.dt)


class RateProbe(SampledProbe):
    """Mean rate of a group's neurons in bins of time; made by :meth:`Network.probe`."""

    def __init__(
        self, group: Group, neurons: ArrayLike | None, every: int, dt: float, step: int
    ) -> None:
        super().__init__(group, neurons, dt, step)
        self.every = every
        self._mask: NDArray[np.uint32] | None = None
        if neurons is not None:
            bits = np.zeros(-(-group.size // 32) * 32, np.uint8)
            bits[self.neurons] = 1
            first = group.share.first // 32
            words = np.packbits(bits, bitorder="little").view(np.uint32)
            self._mask = words[first : first + -(-group.share.count // 32)]
        self._counts: list[NDArray[np.int64]]
        self.clear()

    def take(self, bits: NDArray[np.uint32]) -> None:
        """Count the spikes of the next steps, ``[steps, words]``."""
        self._counts.append(_ones(bits if self._mask is None else bits & self._mask))
        self.step += len(bits)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        super().clear()
        self._counts = [np.zeros(0, np.int64)]

    def _merge(self, own: Self) -> None:
        parts = gather(self.group.share.world, _joined(own._counts))
        self._counts = [np.sum(parts, axis=0, dtype=np.int64)]

    @property
    def values(self) -> NDArray[np.float64]:
        """Mean rate in each bin, Hz."""
        counts, bins = _joined(self._counts), self.recorded
        binned = counts[: bins * self.every].reshape(bins, self.every).sum(1)
        many = max(np.unique(self.neurons).size, 1)  # a process may have none
        return np.asarray(binned / (self.every * self.dt * 1e-3 * many))


class StateProbe(SampledProbe):
    """A state variable of some neurons after each step; made by :meth:`Network.probe`."""

    group: Population

    def __init__(
        self,
        group: Population,
        state: str,
        neurons: ArrayLike | None,
        every: int,
        dt: float,
        step: int,
    ) -> None:
        super().__init__(group, neurons, dt, step)
        self.state, self.every = state, every
        self._rows: list[Real]
        self.clear()

    def take(self, values: Real) -> None:
        """Keep values of the next steps, ``[steps, neurons]``: each ``every``-th row."""
        ahead = (self.first - self.step - 1) % self.every
        self._rows.append(values if self.every == 1 else values[ahead :: self.every].copy())
        self.step += len(values)

    def clear(self) -> None:
        """Forget what was recorded so far."""
        super().clear()
        self._rows = [np.zeros((0, self.neurons.size), self.group.dtype)]

    def _merge(self, own: Self) -> None:
        world, is_own = self.group.share.world, self.group.share.has(self._chosen)
        values = np.empty((self.recorded, self._chosen.size), self.group.dtype)
        for columns, part in gather(world, (np.flatnonzero(is_own), own.values)):
            values[:, columns] = part
        self._rows = [values]

    @property
    def values(self) -> Real:
        """``[steps, neurons]``, in the network's dtype."""
        return _joined(self._rows)


def make_probe(
    group: Group,
    what: str,
    neurons: ArrayLike | None,
    every: float | None,
    dt: float,
    step: int,
) -> SpikeProbe | RateProbe | StateProbe:
    """The probe that :meth:`Network.probe` was asked for."""
    if what in ("spikes", "rate"):
        spikes_only(group)
    if what == "spikes":
        if every is not None:
            raise UserError("a probe of spikes keeps every spike; leave every= out")
        return SpikeProbe(group, neurons, dt, step)
    states = tuple(group.state) if isinstance(group, Population) else ()
    if what != "rate" and what not in states:
        known = ("spikes", "rate", *states)
        raise UserError(f"{group.name} has no {what!r} to probe" + nearest(what, known))
    if what == "rate":
        bins = max(round(1.0 / dt), 1) if every is None else period(every, dt)
        return RateProbe(group, neurons, bins, dt, step)
    assert isinstance(group, Population)
    return StateProbe(group, what, neurons, 1 if every is None else period(every, dt), dt, step)


def decoded(
    bits: NDArray[np.uint32], step: int, neuron: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Steps and neurons of the ones in ``[steps, words]``, in this order.

    >>> steps, neurons = decoded(np.array([[0, 0], [0, 5]], np.uint32), step=10, neuron=64)
    >>> steps.tolist(), neurons.tolist()
    ([11, 11], [96, 98])
    """
    from spikesim.kernels.spikes_numba import list_rows

    ends = np.append(0, np.cumsum(_ones(bits)))
    steps, neurons = np.empty(ends[-1], np.int64), np.empty(ends[-1], np.int32)

    def work(first: int, stop: int) -> None:
        part = slice(ends[first], ends[stop])
        list_rows(bits[first:stop], step + first, neuron, steps[part], neurons[part])

    rows, words = bits.shape
    share(work, rows, max(words, 1), 1)  # a process may have no neuron of a group
    return steps, neurons


def _ones(bits: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Ones in each row."""
    from spikesim.kernels.spikes_numba import count_rows

    counts = np.empty(len(bits), np.int64)
    count_rows(bits, counts)
    return counts


def _joined(parts: list[NDArray[Scalar]]) -> NDArray[Scalar]:
    """All parts as one, which is kept in their place."""
    if len(parts) > 1:
        parts[:] = [np.concatenate(parts)]
    return parts[0]


def _ends(steps: NDArray[np.int64], dt: float) -> NDArray[np.float64]:
    """When steps end, ms."""
    return np.asarray((steps + 1) * dt, np.float64)
