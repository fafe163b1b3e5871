"""Projections: synapses from one group of neurons onto a receptor of a population."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.kernels.engine import Ring, Whole
from spikesim.network.connect import Rule
from spikesim.network.grid import whole_steps
from spikesim.network.memory import check_memory
from spikesim.network.population import Group, Population, Real, spikes_only
from spikesim.network.quantum import quanta
from spikesim.network.synapses import Synapses
from spikesim.network.values import Distribution, Value, resolve
from spikesim.train.seeds import key

PIECE = 1 << 22
"""Synapses worked on at a time, so that temporaries stay small."""


class Projection:
    """Synapses as rows of targets, one row per sending neuron; made by :meth:`Network.connect`.

    Inside a row targets ascend. A synapse takes 2 or 4 bytes, its delay included, and 4 more (8 in
    float64) where weights differ.

    Args:
        name, pre, post, receptor: who is connected, and by default as weights' signs say.
        synapses: the pairs.
        weight: one, or one per synapse.
        delay: in steps: one, or one per synapse.
        dt: of the network, ms.

    Attributes:
        least_delay, largest_delay: in steps.
        delay: in steps, or ``None`` where it differs between synapses.
        indptr: int64 ``[pre.size + 1]``.
        place: ``[synapses]``: the target; where delays differ, ``delay * post.size + target``.
        weight: one number, or ``[synapses]``, in units of ``quantum``.
        quantum: of the receptor, once the network is built.
    """

    def __init__(
        self,
        name: str,
        pre: Group,
        post: Population,
        receptor: str | None,
        synapses: Synapses,
        weight: float | NDArray[np.float64],
        delay: NDArray[np.int64],
        dt: float,
    ) -> None:
        self.name, self.pre, self.post, self.dt = name, pre, post, dt
        weight = np.asarray(weight)
        low, high = (float(weight.min()), float(weight.max())) if weight.size else (0.0, 0.0)
        self.receptor = post.receptor(receptor, low=low, high=high)
        self.least_delay = int(delay.min()) if delay.size else 1
        self.largest_delay = int(delay.max()) if delay.size else 1
        self.delay = self.least_delay if self.least_delay == self.largest_delay else None
        rows = 1 if self.delay is not None else self.largest_delay + 1
        if rows * post.size > 2**32:
            raise UserError(
                f"{name} delays by up to {self.largest_delay} steps onto {post.size} neurons: "
                f"their product must stay below 2**32"
            )
        self.indptr = synapses.indptr
        self.quantum = 1.0
        self.weight: float | Real | Whole = float(low)
        if low < high:
            self.weight = weight.astype(post.dtype)
        kind = np.uint16 if rows * post.size <= 2**16 else np.uint32
        self.place: NDArray[np.unsignedinteger[Any]] = synapses.target.astype(kind)
        if self.delay is None:
            for part in self._parts():
                self.place[part] += (delay[part] * post.size).astype(kind)

    def __len__(self) -> int:
        return int(self.indptr[-1])

    def at_most(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each neuron gets in a step if all spike: the sum of ``|weight|``, and its terms."""
        terms, total = np.zeros(self.post.size), np.zeros(self.post.size)
        for part in self._parts():
            target = self._targets(part)
            terms += np.bincount(target, minlength=self.post.size)
            if isinstance(self.weight, np.ndarray):
                weights = np.abs(self.weight[part])
                total += np.bincount(target, weights, minlength=self.post.size)
        if not isinstance(self.weight, np.ndarray):
            total = terms * float(abs(self.weight))
        return total, terms

    def typical(self) -> float:
        """The mean ``|weight|`` of the synapses whose weight is not 0; 0 if there are none."""
        if not isinstance(self.weight, np.ndarray):
            return abs(self.weight) if len(self) else 0.0
        size = sum(float(np.abs(self.weight[part]).sum(dtype=float)) for part in self._parts())
        return size / max(sum(np.count_nonzero(self.weight[part]) for part in self._parts()), 1)

    def settle(self, ring: Ring) -> int | Whole:
        """The weights in whole quanta of a ring; from now on they are stored so."""
        self.quantum = ring.quantum
        if not isinstance(self.weight, np.ndarray):
            self.weight = whole = int(quanta(self.weight, ring))
            return whole
        weights = np.empty(len(self), ring.array.dtype)
        for part in self._parts():
            weights[part] = quanta(self.weight[part], ring)
        self.weight = weights
        return weights

    def table(self) -> dict[str, NDArray[Any]]:
        """All synapses as arrays ``pre``, ``post``, ``weight`` and ``delay`` (ms), one entry each.

        They are ordered by ``pre``, then ``post``.
        """
        size = len(self)
        same = self.delay is not None
        steps = np.full(size, self.delay) if same else self.place // self.post.size
        return {
            "pre": np.repeat(np.arange(self.pre.size, dtype=np.int32), np.diff(self.indptr)),
            "post": self._targets(slice(None)).astype(np.int32),
            "weight": np.broadcast_to(self.weight * self.quantum, size).copy(),
            "delay": steps * self.dt,
        }

    def _targets(self, part: slice) -> NDArray[np.unsignedinteger[Any]]:
        return self.place[part] if self.delay is not None else self.place[part] % self.post.size

    def _parts(self) -> Iterator[slice]:
        for first in range(0, len(self), PIECE):
            yield slice(first, first + PIECE)


def make_projection(
    name: str,
    pre: Group,
    post: Population,
    rule: Rule,
    weight: Value,
    delay: Value | None,
    receptor: str | None,
    *,
    dt: float,
    seed: int,
    threads: int,
) -> Projection:
    """The projection that :meth:`Network.connect` was asked for."""
    if not isinstance(post, Population):
        raise UserError(f"{name}: {post.name} is given; only a population can receive")
    spikes_only(pre)
    same = pre is post
    sizes = (pre.size, post.size)
    # Of a synapse: its place, its weight as drawn and as stored, its delay as drawn and in steps.
    each = 4 + (0 if isinstance(weight, int | float) else 16)
    each += 0 if isinstance(delay, int | float | None) else 32
    needed = rule.memory(*sizes, same=same, threads=threads)
    check_memory(needed + each * rule.expected(*sizes, same=same), f"the synapses of {name}")
    with _named(name):
        synapses = rule.build(*sizes, same=same, seed=key(seed, "pairs", name), threads=threads)
    with _named(f"weight of {name}"):
        weights = resolve(weight, synapses, key(seed, "weights", name))
    with _named(f"delay of {name}"):
        ms = resolve(dt if delay is None else delay, synapses, key(seed, "delays", name))
    if isinstance(delay, Distribution):
        steps = np.maximum(np.rint(ms / dt), 1).astype(np.int64)
    else:
        steps = whole_steps(ms, dt, f"delay of {name}")
    return Projection(name, pre, post, receptor, synapses, weights, steps, dt)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say what an error is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
