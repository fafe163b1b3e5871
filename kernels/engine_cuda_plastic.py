"""Plastic synapses of a network on a device: the kernels of their steps, and between steps.

In a step one launch notes the spikes of senders and receivers, for all projections of one rule, and
one visits the synapses of the senders. Between two steps all synapses take up what came to them,
where a receiver has almost as many spikes as are kept, which only the device knows; and at the ends
of windows, which are known beforehand, eligibilities are folded.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.errors import BackendError
from spikesim.kernels.engine import Modulation, PlasticDelivery, Received, Source
from spikesim.kernels.engine_cuda_launch import Launch, at, between, on_device, processors
from spikesim.kernels.engine_cuda_plastic_arrays import ABSENT, PlasticSynapses
from spikesim.kernels.engine_cuda_synapses import Place
from spikesim.kernels.print_plastic_cuda import plastic_text
from spikesim.kernels.print_update import THREADS

TOGETHER = 8
"""Projections of one launch."""
KEEPING, BLOCKS = 8, 8
"""Blocks that note the spikes of either side of a projection, at most; blocks of a multiprocessor
that visit synapses."""


class Plastics:
    """All plastic synapses of a network.

    Args:
        deliveries: the synapses.
        modulations: of the network.
        places: of rings, by their ``id``.
        ids: of the first neuron of each source.
        levels: of each source, as of :func:`~spikesim.kernels.engine_cuda_order.levels`.
        device: where they are.

    Raises:
        BackendError: senders run in other processes.
    """

    def __init__(
        self,
        deliveries: Sequence[PlasticDelivery],
        modulations: Sequence[Modulation],
        places: Mapping[int, Place],
        ids: Mapping[Source, int],
        levels: Mapping[Source, int],
        device: torch.device,
    ) -> None:
        if any(isinstance(delivery.source, Received) for delivery in deliveries):
            raise BackendError("plastic synapses of several processes need device='cpu'")
        self._ids, self._of, self._device = ids, levels, device
        self._all = [PlasticSynapses(d, places[id(d.ring)], device) for d in deliveries]
        self._blocks = BLOCKS * processors(device)
        used = {d.modulation for d in deliveries}
        self._idle = [modulation for modulation in modulations if modulation not in used]
        self._catching_up: list[Launch] = []
        self._folds: list[Launch] = []
        for group in self._alike(self._all):
            if group[0].program.on_post.after:
                self._catching_up += [self._pass("settle", group), self._pass("empty", group)]
            if group[0].program.has_eligibility:
                self._folds += [self._pass("fold", group), self._pass("empty", group)]

    @property
    def levels(self) -> set[int]:
        """Those whose spikes matter."""
        operations = [synapses.operation for synapses in self._all]
        return {self._of[end] for o in operations for end in (o.source, o.target)}

    def keep(self, level: int, spikes: tuple[int, int, int, int]) -> Iterator[Launch]:
        """What notes the spikes of a level, given the list of them (its struct)."""
        here = [s for s in self._all if level in (self._level(s), self._of[s.operation.target])]
        for group in self._alike(here):
            structs: list[int] = []
            for synapses in group:
                both = synapses.operation.source, synapses.operation.target
                firsts = [self._ids[end] if self._of[end] == level else ABSENT for end in both]
                structs += synapses.struct(*firsts)
            ends = [end for s in group for end in (s.operation.source, s.operation.target)]
            most = -(-max(end.count for end in ends) // THREADS)
            grid = 2 * min(most, KEEPING) * len(group)
            yield Launch(_text(group), "keep", grid, (*spikes, *structs))

    def send(self, level: int) -> Iterator[Launch]:
        """What delivers the spikes of a level."""
        for group in self._alike([s for s in self._all if self._level(s) == level]):
            structs = [number for synapses in group for number in synapses.struct()]
            yield Launch(_text(group), "act", self._grid(group), tuple(structs))

    def catch_up(self, clock: Tensor) -> None:
        """Enqueue what is to come often enough between two steps; most times it does nothing."""
        for launch in self._catching_up:
            between(launch, clock)

    def fold(self, clock: Tensor) -> None:
        """Enqueue what ends a window, after all have caught up."""
        for launch in self._folds:
            between(launch, clock)

    def until(self, step: int) -> float:
        """The step before which a window ends next."""
        windows = [s.window for s in self._all if s.program.has_eligibility]
        return min(((step // window + 1) * window for window in windows), default=np.inf)

    def refresh(self) -> None:
        """Take note of what modulates from now on."""
        for synapses in self._all:
            synapses.refresh()

    def tell(self, steps: int) -> None:
        """Let modulators have decayed for so many steps."""
        for synapses in self._all:
            synapses.tell()
        for modulation in self._idle:
            for _ in range(steps):
                modulation.values *= modulation.factor

    def hold(self, is_held: bool) -> None:
        """Whether operations are to ask here for their weights."""
        for synapses in self._all:
            synapses.operation.resident = OnDevice(self, synapses) if is_held else None

    def upload(self) -> None:
        """Take all from the operations."""
        for synapses in self._all:
            synapses.upload()

    def download(self, step: int) -> None:
        """Put all into the operations, as it is before ``step``, with nothing left to take up."""
        self.settle(step)
        for synapses in self._all:
            synapses.download(step - 1)

    def settle(self, step: int) -> None:
        """Let all synapses take up what came before ``step``."""
        for synapses in self._all:
            synapses.full.fill_(1)
        self.catch_up(_clock(step, self._device))
        for synapses in self._all:
            synapses.full.fill_(0)  # of those that have nothing to take up

    def _level(self, synapses: PlasticSynapses) -> int:
        return self._of[synapses.operation.source]

    def _alike(self, synapses: Sequence[PlasticSynapses]) -> Iterator[Sequence[PlasticSynapses]]:
        """Those that may share a launch."""

        def key(one: PlasticSynapses) -> str:
            return one.program.key + repr(one.variant)

        for _, found in groupby(sorted(synapses, key=key), key):
            alike = list(found)
            for k in range(0, len(alike), TOGETHER):
                yield alike[k : k + TOGETHER]

    def _pass(self, name: str, group: Sequence[PlasticSynapses]) -> Launch:
        structs = [number for synapses in group for number in synapses.struct()]
        grid = len(group) if name == "empty" else self._grid(group)
        return Launch(_text(group), name, grid, (0, 0, 0, *structs))

    def _grid(self, group: Sequence[PlasticSynapses]) -> int:
        return max(self._blocks // len(group), 1) * len(group)


class OnDevice:
    """Weights of synapses that are on a device now."""

    def __init__(self, plastics: Plastics, synapses: PlasticSynapses) -> None:
        self._plastics, self._synapses = plastics, synapses

    def weights(self, chosen: NDArray[np.int64] | None, now: int) -> NDArray[Any]:
        """As they are at the end of a step up to which all has run; of all, or of some."""
        synapses, device = self._synapses, self._synapses.device
        out = torch.empty_like(synapses.weight)
        which = rows = None
        if chosen is not None:
            which = on_device(chosen, device)
            rows = torch.unique(torch.searchsorted(synapses.begins, which, right=True) - 1)
        grid = BLOCKS * processors(device)
        arguments = at(rows), 0 if rows is None else len(rows), at(out), *synapses.struct()
        between(Launch(_text([synapses]), "look", grid, arguments), _clock(now + 1, device))
        found: NDArray[Any] = (out if which is None else out[which]).cpu().numpy()
        return found

    def set_weights(self, weights: NDArray[Any], now: int) -> None:
        """Go on with others after the end of a step; spikes so far act on those before."""
        self._plastics.settle(now + 1)
        self._synapses.weight.copy_(torch.from_numpy(weights))


def _text(group: Sequence[PlasticSynapses]) -> str:
    return plastic_text(group[0].program, group[0].variant, len(group))


def _clock(step: int, device: torch.device) -> Tensor:
    return torch.tensor([step], dtype=torch.int64, device=device)
