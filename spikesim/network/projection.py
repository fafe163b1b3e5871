"""Projections: synapses from one group of neurons onto a receptor of a population."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.kernels.builder import Array, Builder, Rows
from spikesim.kernels.engine import Ring
from spikesim.kernels.exchange import own_synapses
from spikesim.network.connect import Rule
from spikesim.network.distributed import gather
from spikesim.network.distributed_arrays import BySynapse
from spikesim.network.given import check_held
from spikesim.network.grid import whole_steps
from spikesim.network.memory import check_memory
from spikesim.network.population import Group, Population, spikes_only
from spikesim.network.quantum import SHARE, Sizes, quanta
from spikesim.network.rule import DrawnRule
from spikesim.network.synapses import Synapses
from spikesim.network.values import Distribution, Value, resolve
from spikesim.seeds import key

LONGEST = 2**31 - 1
"""Steps of a delay."""


class Projection:
    """Synapses as rows of targets, one row per sending neuron; made by :meth:`Network.connect`.

    Inside a row targets ascend. A synapse takes 2 or 4 bytes, its delay included, and 4 more (8 in
    float64) where weights differ.

    Args:
        name, pre, post, receptor: who is connected, and by default as weights' signs say.
        rows: the pairs, arrays of the builder.
        weight: one, or one per synapse in the dtype of ``post``, an array of the builder.
        delay: in steps: one, or one per synapse, an int32 array of the builder.
        dt: of the network, ms.
        builder: of the arrays, which lie where it works.

    Attributes:
        least_delay, largest_delay: in steps.
        delay: in steps, or ``None`` where it differs between synapses.
        indptr: int64 ``[pre.size + 1]``.
        place: ``[synapses]``, uint16 or uint32: the target; where delays differ,
            ``delay * post.size + target``. Of several processes each counts its own neurons.
        weight: one number, or ``[synapses]``, in units of ``quantum``.
        quantum: of the receptor, once the network is built.
        division: of its synapses among processes; ``None`` where this one has all.
    """

    is_plastic = False
    division: BySynapse | None = None

    def __init__(
        self,
        name: str,
        pre: Group,
        post: Population,
        receptor: str | None,
        rows: Rows,
        weight: float | Array,
        delay: int | Array,
        *,
        dt: float,
        builder: Builder,
    ) -> None:
        self.name, self.pre, self.post, self.dt, self.builder = name, pre, post, dt, builder
        self.indptr, target = rows
        self._count = len(target)
        low, high = self._limits(weight, 0)
        if not np.isfinite(high - low):
            raise UserError(
                f"weights of {name} lie between {low:g} and {high:g}, more than {post.dtype} holds"
            )
        self.receptor = post.receptor(receptor, low=low, high=high)
        self.weight: float | Array = weight if low < high else float(low)
        self.quantum = 1.0
        least, largest = self._limits(delay, 1)
        if largest >= LONGEST:  # where a draw ends
            raise UserError(f"delays of {name} reach {LONGEST} steps of dt = {dt} ms: bound them")
        self.least_delay, self.largest_delay = int(least), int(largest)
        self.delay = self.least_delay if self.least_delay == self.largest_delay else None
        slots = 1 if self.delay is not None else self.largest_delay + 1
        if slots * post.size > 2**32:
            raise UserError(
                f"{name} delays by up to {self.largest_delay} steps onto {post.size} neurons: "
                f"their product must stay below 2**32"
            )
        kind = "uint16" if slots * post.size <= 2**16 else "uint32"
        self.place = builder.place(target, delay if self.delay is None else None, post.size, kind)

    def __len__(self) -> int:
        return self._count

    def at_most(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each neuron gets in a step if all spike: the sum of ``|weight|``, and its terms."""
        sums, terms = self._tally
        return (terms * self.typical() if isinstance(self.weight, int | float) else sums), terms

    def typical(self) -> float:
        """The mean ``|weight|`` of the synapses whose weight is not 0; 0 if there are none."""
        if isinstance(self.weight, int | float):
            return abs(self.weight * self.quantum) if len(self) else 0.0
        return float(self._tally[0].sum()) / self._nonzero

    def sizes(self, least: float) -> Sizes | None:
        """How many weights that are not 0 are below a size; ``None`` where none need be.

        Of several processes every one must call it.
        """
        if self.is_plastic or isinstance(self.weight, int | float):
            return None
        above = self.builder.count_nonzero(self.builder.whole(self.weight, 2.0 * least))
        share = 1.0 - sum(gather(self.post.share.world, above)) / self._nonzero
        if share <= SHARE:
            return None
        own = np.abs(self.builder.download(self.weight))
        return Sizes(share, float(own[own > 0].min(initial=np.inf)), float(own.max(initial=0.0)))

    @cached_property
    def _nonzero(self) -> int:
        return self.builder.count_nonzero(self.weight)

    @cached_property
    def _tally(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weight = None if isinstance(self.weight, int | float) else self.weight
        return self.builder.tally(self.place, weight, self.post.size)

    def keep_own(self) -> None:
        """Keep the synapses onto this process's neurons; sums, and ``len``, stay those of all."""
        if self.post.share.is_whole:
            return
        self.at_most(), self.typical()  # which remember what they count
        weight = self.weight
        self.indptr, self.place, own, starts = own_synapses(
            self.indptr,
            self.place,
            None if isinstance(weight, int | float) else weight,
            neurons=self.post.size,
            first=self.post.share.first,
            count=self.post.share.count,
            slots=1 if self.delay is not None else self.largest_delay + 1,
        )
        self.weight = weight if own is None else own
        begins, indptr = (self.builder.download(array) for array in (starts, self.indptr))
        self.division = BySynapse(begins, indptr, len(self), self.post.share)

    def settle(self, ring: Ring) -> int | Array:
        """The weights in whole quanta of a ring; from now on they are stored so."""
        self.quantum = ring.quantum
        if isinstance(self.weight, int | float):
            self.weight = int(quanta(self.weight, ring))
        else:
            self.weight = self.builder.whole(self.weight, ring.quantum)
        return self.weight

    def weights(self) -> NDArray[Any]:
        """Weights in the unit of the receptor, in the order of :meth:`table`."""
        weight = self.weight
        if not isinstance(weight, int | float):
            weight = self.builder.download(weight)
        return np.broadcast_to(weight * self.quantum, len(self.place)).copy()

    def table(self) -> dict[str, NDArray[Any]]:
        """All synapses as arrays ``pre``, ``post``, ``weight`` and ``delay`` (ms), one entry each.

        They are ordered by ``pre``, then ``post``. Of several processes each has those onto its own
        neurons; :meth:`gather` has all.
        """
        share = self.post.share
        indptr, place = (self.builder.download(array) for array in (self.indptr, self.place))
        size, same = len(place), self.delay is not None
        return {
            "pre": np.repeat(np.arange(self.pre.size, dtype=np.int32), np.diff(indptr)),
            "post": (place if same else place % share.count).astype(np.int32) + share.first,
            "weight": self.weights(),
            "delay": (np.full(size, self.delay) if same else place // share.count) * self.dt,
        }

    def gather(self) -> dict[str, NDArray[Any]]:
        """The :meth:`table` as one process would have it; every process must call it."""
        tables = gather(self.post.share.world, self.table())
        whole = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        order = np.argsort(whole["pre"], kind="stable")  # receivers ascend with the processes
        return {name: values[order] for name, values in whole.items()}

    def _limits(self, values: float | Array, without: float) -> tuple[float, float]:
        """The least and the largest; those of no synapses are given."""
        if isinstance(values, int | float):
            return values, values
        return self.builder.limits(values) if len(values) else (without, without)


ProjectionMaker: TypeAlias = Callable[..., Projection]
"""A class of projections, with what it takes beside."""


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
    builder: Builder,
    make: ProjectionMaker = Projection,
) -> Projection:
    """The projection that :meth:`Network.connect` was asked for, as ``make`` makes it."""
    if not isinstance(rule, Rule):
        raise UserError(f"{name}: rule must be one such as FixedProbability(0.1), got {rule!r}")
    spikes_only(pre)
    sizes, same, dtype = (pre.size, post.size), pre is post, post.dtype.name
    delay = dt if delay is None else delay
    # Values that are given one by one are read on the CPU, and need the pairs there.
    is_drawn = isinstance(rule, DrawnRule) and not _is_given(weight) and not _is_given(delay)
    expected, what = rule.expected(*sizes, same=same), f"the synapses of {name}"
    if builder.is_cpu or not is_drawn:
        each = 4 + _bytes(weight, 16) + _bytes(delay, 32)
        memory = rule.memory(*sizes, same=same, threads=builder.threads)
        check_memory(memory + each * expected, what)
    if not builder.is_cpu:
        check_memory(builder.bytes_each * expected, what, builder.free_bytes())
    synapses: Synapses | int
    with _named(name):
        of_pairs = key(seed, "pairs", name)
        if is_drawn:
            assert isinstance(rule, DrawnRule)
            rows = rule.rows(*sizes, same=same, seed=of_pairs, builder=builder)
            synapses = len(rows[1])
        else:
            synapses = rule.build(*sizes, same=same, seed=of_pairs, threads=builder.threads)
            rows = builder.upload(synapses.indptr), builder.upload(synapses.target)
    with _named(name):
        weights = _weights(weight, synapses, key(seed, "weights", name), dtype, builder)
    with _named(name):
        steps = _steps(delay, synapses, key(seed, "delays", name), dt, builder)
    return make(name, pre, post, receptor, rows, weights, steps, dt=dt, builder=builder)


def _weights(
    value: Value, synapses: Synapses | int, seed: int, dtype: str, builder: Builder
) -> float | Array:
    count = _count(synapses)
    if isinstance(value, Distribution) and count is not None:
        return builder.draw(value.law, count, seed, dtype)
    found = resolve(value, synapses, seed, "weight")
    check_held("weight", found, np.dtype(dtype))
    return found if isinstance(found, float) else builder.upload(found.astype(dtype))


def _steps(
    value: Value, synapses: Synapses | int, seed: int, dt: float, builder: Builder
) -> int | Array:
    count = _count(synapses)
    if isinstance(value, Distribution) and count is not None:
        return builder.draw_steps(value.law, count, seed, dt)
    ms = resolve(value, synapses, seed, "delay")
    if isinstance(value, Distribution) or callable(value):
        steps = np.maximum(np.rint(np.divide(ms, dt)), 1)
    else:
        steps = np.asarray(whole_steps(ms, dt, "delay"))
    if steps.max(initial=0) > LONGEST:
        raise UserError(
            f"delay must be at most {LONGEST} steps of dt = {dt} ms, got {np.max(ms):g} ms"
        )
    return int(steps) if steps.ndim == 0 else builder.upload(steps.astype(np.int32))


def _count(synapses: Synapses | int) -> int | None:
    """How many numbers are drawn, unless synapses share them."""
    if isinstance(synapses, int):
        return synapses
    return synapses.count if synapses.entries is None else None


def _is_given(value: Value) -> bool:
    """Whether there is a value for each synapse, or a function of it."""
    return not isinstance(value, Distribution) and (callable(value) or hasattr(value, "__len__"))


def _bytes(value: Value, given: int) -> int:
    """Of the values of a synapse, at the peak."""
    return given if _is_given(value) else 16 if isinstance(value, Distribution) else 0


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say what an error is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
