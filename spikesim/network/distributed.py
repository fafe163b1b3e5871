"""A network over several processes, each with a part of the neurons of every population.

``torchrun --nproc-per-node 4 script.py`` runs a script four times; what it builds inside of
:func:`distributed` is one network, described by the same calls in each process::

    with distributed():
        net = brunel(scale=2.0)
        probe = net.probe(net.groups[0], "spikes")
        net.run(1000.0)
        print(probe.gather().rate)

A process has a range of each population (:class:`Share`), the synapses onto it and what arrives
there, so that the memory for synapses is divided; while a projection is made, each process holds it
whole. Spikes are exchanged once for each block of steps, which is at most the least delay
(:mod:`spikesim.network.distributed_exchange`), and within a step where delays are 0. A network on
``"cuda"`` has a device for each process of a machine; these talk by NCCL
(:mod:`spikesim.network.distributed_device`). Plastic synapses lie with their receivers, and each
process keeps the traces of all senders, which are functions of the spikes. Sums are of whole
numbers and random numbers keyed by neuron: any number of processes gives the same bits, and a
state saved by some is loaded by any other number.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from spikesim.errors import Stopped, UserError
from spikesim.world import World, process_group, world_from_environment

T = TypeVar("T")
Scalar = TypeVar("Scalar", bound=np.generic)

TILE = 64
"""Neurons that stay together: their random words lie side by side."""

ALONE = World()
_WORLD: ContextVar[World] = ContextVar("world", default=ALONE)
_PATIENCE: ContextVar[float] = ContextVar("patience")
_ENDING: ContextVar[ExitStack] = ContextVar("ending")


@contextmanager
def distributed(timeout: float = 600.0) -> Iterator[World]:
    """Inside, a network is divided among the processes that ``torchrun`` started.

    Without ``torchrun`` there is one process, and nothing changes. Threads that start inside do not
    divide theirs. Functions of time are called in each process, and must give the same in all.
    Networks on a GPU run inside only, and none with plastic synapses.

    Args:
        timeout: seconds after which a process that does not answer counts as lost.

    Raises:
        Stopped: another process ended, failed, or did not answer.
    """
    world = world_from_environment()
    group = process_group(world, torch.device("cpu"), timedelta(seconds=timeout))
    with group, ExitStack() as ending:
        tokens = _WORLD.set(world), _PATIENCE.set(timeout), _ENDING.set(ending)
        try:
            yield world
            with contact():
                world.wait()  # what the first one keeps for all must outlive them
        finally:
            for variable, token in zip((_WORLD, _PATIENCE, _ENDING), tokens, strict=True):
                variable.reset(token)  # type: ignore[attr-defined]


def patience() -> float:
    """Seconds after which a process that does not answer counts as lost."""
    return _PATIENCE.get()


def processes() -> World:
    """Those that share a network made here."""
    return _WORLD.get()


def at_end(act: Callable[[], object]) -> None:
    """Call something when :func:`distributed` is left, while processes can still talk.

    Raises:
        UserError: it has been left.
    """
    ending = _ENDING.get(None)
    if ending is None:
        raise UserError("a network of several processes runs inside of distributed()")
    ending.callback(act)


@contextmanager
def undivided() -> Iterator[None]:
    """Inside, networks are of this process alone, which keeps its device."""
    token = _WORLD.set(World(local_rank=processes().local_rank))
    try:
        yield
    finally:
        _WORLD.reset(token)


@contextmanager
def contact() -> Iterator[None]:
    """Say in words that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        words = str(error).strip().splitlines()[0]
        reason = (words.partition("] ")[2] or words).partition(". ")[0]  # no line of gloo's source
        raise Stopped(
            f"lost contact with another process, which ended or did not answer: {reason}"
        ) from error


def gather(world: World, value: T) -> list[T]:
    """The value of each process, in order; every process must call it."""
    if world.size == 1:
        return [value]
    found: list[Any] = [None] * world.size
    with contact():
        dist.all_gather_object(found, value)
    return found


@dataclass(frozen=True)
class Share:
    """Which neurons of a group each process has."""

    limits: tuple[int, ...]
    """Where the neurons of each process begin, and the last ones end."""
    world: World = ALONE

    @property
    def first(self) -> int:
        """The first neuron of this process."""
        return self.limits[self.world.rank]

    @property
    def count(self) -> int:
        """How many this process has."""
        return self.limits[self.world.rank + 1] - self.first

    @property
    def is_whole(self) -> bool:
        """Whether this process has all."""
        return self.world.size == 1

    def own(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """This process's part of the last axis; not a copy."""
        return whole[..., self.first : self.first + self.count]

    def whole(self, own: NDArray[Scalar]) -> NDArray[Scalar]:
        """The parts of all processes, on each of them; every process must call it."""
        return own if self.is_whole else np.concatenate(gather(self.world, own), axis=-1)

    def has(self, neurons: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which neurons are of this process."""
        return (neurons >= self.first) & (neurons < self.first + self.count)


def share(world: World, size: int, which: int) -> Share:
    """Even parts of a population, in whole tiles.

    Args:
        world: the processes.
        size: neurons.
        which: population it is; tiles that are left over go to another process each time.

    >>> share(World(0, 2), 200, 0).limits, share(World(0, 2), 200, 1).limits
    ((0, 128, 200), (0, 128, 200))
    >>> share(World(0, 2), 10, 0).limits, share(World(0, 2), 10, 1).limits
    ((0, 0, 10), (0, 10, 10))
    """
    tiles, turn = -(-size // TILE), which % world.size
    cuts = [(rank * tiles + turn) // world.size for rank in range(world.size + 1)]
    return Share(tuple(min(cut * TILE, size) for cut in cuts), world)


def check_same(world: World, facts: dict[str, object]) -> None:
    """See that all processes describe the same network.

    Raises:
        UserError: they do not; names the first difference.
    """
    for rank, others in enumerate(gather(world, facts)):
        for name in [*facts, *others]:
            if facts.get(name) != others.get(name):
                raise UserError(
                    f"process {rank} has another network than process {world.rank}: {name} is "
                    f"{others.get(name)}, not {facts.get(name)}"
                )


class Together:
    """The runs of all processes, which go on in the same pieces and end at the same step.

    An error inside reaches the others when they next agree.

    Args:
        world: the processes.
        end: the step that the run leads to.
    """

    def __init__(self, world: World, end: int) -> None:
        self._world, self._end = world, end

    def __enter__(self) -> "Together":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._world.size > 1 and error is not None and not isinstance(error, Stopped):
            with contact():
                self._largest([0, 0, 1, 0, 0])

    def agree(self, last: int, is_interrupted: bool) -> tuple[int, bool]:
        """The step that all go to next, and whether one of them was interrupted.

        Raises:
            Stopped: another process failed or is gone.
            UserError: the runs lead to different steps.
        """
        if self._world.size == 1:
            return last, is_interrupted
        with contact():
            given = [-last, int(is_interrupted), 0, self._end, -self._end]
            least, interrupted, failed, latest, earliest = self._largest(given)
        if failed:
            raise Stopped("another process failed; see what it says")
        if latest != -earliest:
            raise UserError(
                f"processes run to different times: to step {-earliest} and to step {latest}"
            )
        return -least, bool(interrupted)

    def _largest(self, given: Sequence[int]) -> list[int]:
        values = torch.tensor(given)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        found: list[int] = values.tolist()
        return found
