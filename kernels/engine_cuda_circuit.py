"""A network on a device: populations, synapses and given spikes, without what is recorded."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from spikesim.errors import BackendError
from spikesim.kernels.engine import (
    Cells,
    Delivery,
    Modulation,
    Operation,
    PlasticDelivery,
    Received,
    Source,
    SpikeRecorder,
    SpikeSource,
    StateRecorder,
)
from spikesim.kernels.engine_cuda_cells import JointCells, key
from spikesim.kernels.engine_cuda_drives import Input
from spikesim.kernels.engine_cuda_exchange import Crossing
from spikesim.kernels.engine_cuda_launch import (
    FIRST,
    TRAINS,
    Launch,
    at,
    check_fits,
    on_device,
    processors,
    table,
)
from spikesim.kernels.engine_cuda_order import levels
from spikesim.kernels.engine_cuda_plastic import Plastics
from spikesim.kernels.engine_cuda_synapses import Layer, Place, layers
from spikesim.kernels.exchange import Exchanged
from spikesim.kernels.print_update import THREADS, deliver_text

KNOWN = Cells | SpikeSource | Received | Delivery | PlasticDelivery | Modulation | Input | Exchanged
Part = TypeVar("Part")
RECORDERS = SpikeRecorder | StateRecorder
BLOCKS, NEAR_BLOCKS, MOST_BLOCKS = 4, 2, 16
"""Blocks of a multiprocessor that deliver to a layer, what is due soon if that is apart, to all."""
SLOTS = 3
"""Of sums, where what is due later is delivered a step ahead: two are added to, one is read."""
LAYERS = 16
"""That one launch delivers to."""
COUNTED = 1 << 32
"""Sums, and spikes of the steps whose segments are found at once, are numbered by fewer."""


class Circuit:
    """All that the kernels of a step work on.

    Args:
        operations: of a network, in order of execution.
        device: where everything is put.

    Raises:
        BackendError: an operation that has no kernel, or too many neurons.
        ValueError: operations that do not fit each other.
        UserError: too little memory.
    """

    def __init__(self, operations: Sequence[Operation], device: torch.device) -> None:
        self.parts = parts(operations)
        self.device = device
        self.is_loaded = False
        """Whether it has the states and rings of the operations."""
        self.levels = levels(operations)
        self.order = sorted(set(self.levels.values()))
        self.trains = self._all(SpikeSource)
        cells = self._all(Cells)
        self.real = _real(cells)
        self.joint = self._joint(cells)
        self.of = {group: joint for joint in self.joint for group in joint.cells}
        self.ids, self.room, own = self._numbered()
        self.clock = torch.zeros(TRAINS + len(self.trains), dtype=torch.int64, device=device)
        places = self._places(cells)
        plastic, modulations = self._all(PlasticDelivery), self._all(Modulation)
        self.plastics = Plastics(plastic, modulations, places, self.ids, self.levels, device)
        self.crossings = self._crossings(own)
        """By level."""
        self.exchanged = min((part.block for part in self._all(Exchanged)), default=1)
        """Steps from one exchange to the next."""
        self.layers = self._layers(places)
        delivering = [n for n in self.order if n in self.layers or n in self.plastics.levels]
        self._lists = {level: self._spikes(level) for level in delivering}
        wide = [layer for found in self.layers.values() for layer in found]
        is_plain = self.order == [0] and not self.crossings
        self.is_ahead = is_plain and any(len(layer.lags) > layer.near for layer in wide)
        """Whether what is due two steps later or more is delivered a step ahead of its time, beside
        the updates of other steps."""
        self.sums = self._sums()
        """``[slots, ..]``: of all inputs of all neurons; those of a step lie in one slot."""
        self._steps, self._given = [], []
        for train in self.trains:
            # A neuron that is listed twice in a step has spiked once.
            pairs = np.unique(np.stack([train.steps, train.senders], 1), axis=0)
            steps, senders = pairs[:, 0], pairs[:, 1].astype(np.int32)
            self._steps.append(steps)
            self._given.append((on_device(steps, device), on_device(senders, device)))

    def set_clock(self, step: int) -> None:
        """Begin a run at ``step``, which is the first one recorded."""
        places = [int(np.searchsorted(steps, step)) for steps in self._steps]
        self.clock.copy_(torch.tensor([step, step, step, *places], dtype=torch.int64))

    def launches(
        self, step: int, words: Mapping[Source, int], bits: Tensor, exchanged: int = 0
    ) -> list[Launch | Callable[[], None]]:
        """The kernels of a step.

        Args:
            step: which one; what repeats every :attr:`period` is the same.
            words: of sources that are recorded, where their words begin in a row.
            bits: int32 ``[rows, words]``.
            exchanged: of how many steps, this one the last, other processes are told the spikes.
        """
        record = at(bits), bits.shape[1], at(self.clock, FIRST)
        found: list[Launch | Callable[[], None]] = []
        for level in self.order:
            ids, crossing = self._list(level), self.crossings.get(level)
            own = ids if crossing is None else crossing.own
            if level == 0 and self.trains:
                found.append(self._give(ids, record, words))
            for joint in self.joint:
                if joint.level == level:
                    first = self.ids[joint.cells[0]]
                    slot = step % len(self.sums)
                    found.append(joint.launch((*own, first), record, words, slot))
            if crossing is not None and exchanged:
                found += crossing.launches(self.real, ids, exchanged)
            found += self.plastics.keep(level, ids)
            found += self.deliveries(level, step)
            found += self.plastics.send(level)
        return found

    @property
    def period(self) -> int:
        """Steps after which the launches are the same again."""
        return len(self.sums) if self.is_ahead else self.exchanged

    def deliveries(self, level: int, step: int) -> list[Launch]:
        """The kernels that deliver the spikes of a level in a step."""
        wide = self.layers.get(level, [])
        if not self.is_ahead:
            return self._deliver(level, step, [(layer, 0, len(layer.lags)) for layer in wide])
        near = [(layer, 0, layer.near) for layer in wide if layer.near]
        far = [
            (layer, layer.near, len(layer.lags)) for layer in wide if len(layer.lags) > layer.near
        ]
        return [*self._deliver(level, step, near), *self._deliver(level, step, far, is_far=True)]

    def changing(self) -> list[Tensor]:
        """What delivering changes."""
        return [self.sums, self.clock, *(counts for _, counts in self._lists.values())]

    def rings(self) -> list[Tensor]:
        """Of those inputs that have one."""
        return [ring for joint in self.joint for ring in joint.rings if ring is not None]

    def tick(self) -> Launch:
        """What takes part in a step that is too short."""
        return Launch(deliver_text(self.real, 1), "tick", 1, ())

    def _all(self, kind: type[Part]) -> list[Part]:
        return [part for part in self.parts if isinstance(part, kind)]

    def _joint(self, cells: Sequence[Cells]) -> list[JointCells]:
        inputs: dict[Cells, list[Input]] = {group: [] for group in cells}
        readers = {id(r): group for group in cells for r in group.rings.values() if r is not None}
        for part in self.parts:
            if isinstance(part, Input):
                inputs[readers[id(part.ring)]].append(part)
        alike = defaultdict(list)
        for group in cells:
            alike[self.levels[group], key(group)].append(group)
        ringed = {id(part.ring) for part in self._all(PlasticDelivery)}
        found = [
            JointCells(groups, level, inputs, ringed, self.device)
            for (level, _), groups in alike.items()
        ]
        sums = accumulate((joint.inputs * joint.columns for joint in found), initial=0)
        for joint, first in zip(found, sums, strict=False):
            joint.first_sum = first
        return found

    def _numbered(self) -> tuple[dict[Source, int], dict[int, int], dict[int, int]]:
        """The id of the first neuron of each source, and how many ids the list of each level has.

        Where spikes are exchanged there are two lists: cells are counted in that of the process.
        """
        ids: dict[Source, int] = {}
        room = dict.fromkeys(self.order, 0)
        for joint in self.joint:
            ids |= {group: room[joint.level] + joint.column(group) for group in joint.cells}
            room[joint.level] += joint.columns
        received = self._all(Received)
        own, room = room, dict.fromkeys(self.order, 0) if received else room
        sources: list[Source] = [*received, *self.trains]
        for source in sources:
            level = self.levels[source]
            ids[source] = room[level]
            room[level] += source.count
        return ids, room, own

    def _places(self, cells: Sequence[Cells]) -> dict[int, Place]:
        found: dict[int, Place] = {}
        for group in cells:
            joint = self.of[group]
            for ring in group.rings.values():
                if ring is not None:
                    found[id(ring)] = joint, joint.input_of(group, ring), joint.column(group)
        rings = [part.ring for part in self._all(Delivery)]
        rings += [part.ring for part in self._all(PlasticDelivery)]
        if not {id(ring) for ring in rings} <= found.keys():
            raise ValueError("a delivery leads to a ring that no cells read")
        return found

    def _crossings(self, own: Mapping[int, int]) -> dict[int, Crossing]:
        heard = {delivery.source for delivery in self._all(Delivery)}
        return {
            level: Crossing(part, self.ids, own[level], heard, self.device)
            for level, part in enumerate(self._all(Exchanged))
            if part.members
        }

    def _layers(self, places: Mapping[int, Place]) -> dict[int, list[Layer]]:
        """Of those levels that have any."""
        deliveries = self._all(Delivery)
        found = {}
        for level in self.order:
            of_level = [d for d in deliveries if self.levels[d.source] == level]
            found[level] = layers(of_level, level, places, self.ids, self.room[level])
        return {level: some for level, some in found.items() if some}

    def _sums(self) -> Tensor:
        """Zeros, of which joint cells see their parts."""
        whole = torch.int64 if self.real == "float64" else torch.int32
        shape = SLOTS if self.is_ahead else 1, self._many_sums()
        sums = torch.zeros(shape, dtype=whole, device=self.device)
        for joint in self.joint:
            many = joint.inputs * joint.columns
            part = sums[:, joint.first_sum : joint.first_sum + many]
            joint.sums = part.view(len(part), joint.inputs, joint.columns)
        return sums

    def _many_sums(self) -> int:
        return sum(joint.inputs * joint.columns for joint in self.joint)

    def _spikes(self, level: int) -> tuple[Tensor, Tensor]:
        """Room for all to spike in each of the steps whose spikes are not forgotten, and counts."""
        room, wide = self.room[level], self.layers.get(level, [])
        rows = 1 << max((int(layer.lags[-1]) + 1 for layer in wide), default=1).bit_length()
        most = max((min(len(layer.lags), THREADS) for layer in wide), default=1) * room
        if max(most, self._many_sums()) >= COUNTED:
            raise BackendError("more neurons than CUDA kernels can count; use device='cpu'")
        check_fits(4 * rows * room, "lists of spikes of this network", self.device)
        ids = torch.zeros((rows, room), dtype=torch.int32, device=self.device)
        return ids, torch.zeros(rows, dtype=torch.int32, device=self.device)

    def _list(self, level: int) -> tuple[int, int, int, int]:
        if level not in self._lists:
            return 0, 0, 0, 0
        ids, counts = self._lists[level]
        return at(ids), at(counts), ids.shape[1], len(counts) - 1

    def _give(
        self,
        ids: tuple[int, int, int, int],
        record: tuple[int, int, int],
        words: Mapping[Source, int],
    ) -> Launch:
        rows = []
        for k, (train, given) in enumerate(zip(self.trains, self._given, strict=True)):
            place = words.get(train, -1), -(-train.count // 32)
            where = at(self.clock, TRAINS + k), self.ids[train]
            rows.append((*map(at, given), len(given[0]), *where, *place))
        trains = table(rows, self.device)
        arguments = (*ids, *record, at(trains))
        return Launch(deliver_text(self.real, 1), "give", len(rows), arguments, (trains,))

    def _deliver(
        self,
        level: int,
        step: int,
        wide: Sequence[tuple[Layer, int, int]],
        *,
        is_far: bool = False,
    ) -> list[Launch]:
        """Launches that deliver segments of layers, from the first one on and up to the end."""
        ids, launches = self._list(level), []
        cleared = (2 if is_far else 0) if self.is_ahead else 1
        slots = (at(self.sums[(step + 1 + ahead) % len(self.sums)]) for ahead in (0, 1))
        head = *ids, int(self.is_ahead), cleared, *slots
        for k in range(0, len(wide), LAYERS):
            found = wide[k : k + LAYERS]
            numbers = [n for layer, first, end in found for n in layer.arguments(first, end)]
            many, processors_ = len(found), processors(self.device)
            blocks = BLOCKS if is_far or not self.is_ahead else NEAR_BLOCKS
            each = max(min(blocks * processors_, MOST_BLOCKS * processors_ // many), 1)
            text = deliver_text(self.real, many)
            launches.append(
                Launch(text, "deliver", each * many, (*head, *numbers), is_beside=is_far)
            )
        return launches


def parts(operations: Sequence[Operation]) -> list[Operation]:
    """All but what records.

    Raises:
        BackendError: an operation that has no kernel.
    """
    for operation in operations:
        if not isinstance(operation, KNOWN | RECORDERS):
            name = type(operation).__name__
            raise BackendError(f"{name} has no CUDA kernel; use device='cpu' for this network")
    return [part for part in operations if not isinstance(part, RECORDERS)]


def _real(cells: Sequence[Cells]) -> str:
    reals = {group.dtype for group in cells}
    if len(reals) > 1:
        raise ValueError("cells of float32 and of float64 in one network")
    return min(reals, default="float32")
