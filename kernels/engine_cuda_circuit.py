"""A network on a device: populations, synapses and given spikes, without what is recorded."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spikesim.errors import BackendError
from spikesim.kernels.engine import (
    Cells,
    Delivery,
    Operation,
    Source,
    SpikeRecorder,
    SpikeSource,
    StateRecorder,
)
from spikesim.kernels.engine_cuda_cells import JointCells, key
from spikesim.kernels.engine_cuda_drives import Input
from spikesim.kernels.engine_cuda_launch import FIRST, TRAINS, Launch, at, on_device, table
from spikesim.kernels.engine_cuda_order import levels
from spikesim.kernels.engine_cuda_synapses import Layer, Place, layers
from spikesim.kernels.print_update import deliver_text

KNOWN = Cells | SpikeSource | Delivery | Input | SpikeRecorder | StateRecorder
BLOCKS, MOST_BLOCKS = 4, 16
"""Blocks of a multiprocessor that deliver to a layer, and to all."""
LAYERS = 16
"""That one launch delivers to."""


class Circuit:
    """All that the kernels of a step work on.

    Args:
        operations: of a network, in order of execution.
        device: where everything is put.

    Raises:
        BackendError: an operation that has no kernel.
        ValueError: operations that do not fit each other.
    """

    def __init__(self, operations: Sequence[Operation], device: torch.device) -> None:
        self.parts = parts(operations)
        self.device = device
        self.is_loaded = False
        """Whether it has the states and rings of the operations."""
        self.levels = levels(operations)
        cells = [part for part in self.parts if isinstance(part, Cells)]
        reals = {group.dtype for group in cells}
        if len(reals) > 1:
            raise ValueError("cells of float32 and of float64 in one network")
        self.real = min(reals, default="float32")
        self.trains = [part for part in self.parts if isinstance(part, SpikeSource)]
        self.joint = self._joint(cells)
        self.of = {group: joint for joint in self.joint for group in joint.cells}
        self.ids, self._many = self._numbered()
        size = TRAINS + len(self.trains)
        self.clock = torch.zeros(size, dtype=torch.int64, device=device)
        deliveries = [part for part in self.parts if isinstance(part, Delivery)]
        places = self._places(cells)
        for delivery in deliveries:
            if id(delivery.ring) not in places:
                raise ValueError("a delivery leads to a ring that no cells read")
        self.layers: dict[int, list[Layer]] = {}
        self._lists: dict[int, tuple[Tensor, Tensor]] = {}
        for level in sorted(set(self.levels.values())):
            found = [d for d in deliveries if self.levels[d.source] == level]
            if found:
                self.layers[level] = layers(found, places, self.ids, self._many)
                room = torch.zeros(2 * self._many, dtype=torch.int32, device=device)
                self._lists[level] = room, torch.zeros(2, dtype=torch.int32, device=device)
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

    def launches(self, words: Mapping[Source, int], bits: Tensor) -> list[Launch]:
        """The kernels of a step.

        Args:
            words: of sources that are recorded, where their words begin in a row.
            bits: int32 ``[rows, words]``.
        """
        record = at(bits), bits.shape[1], at(self.clock, FIRST)
        found: list[Launch] = []
        for level in sorted(set(self.levels.values())):
            ids = self._list(level)
            if level == 0 and self.trains:
                found.append(self._give(ids, record, words))
            for joint in self.joint:
                if self.levels[joint.cells[0]] == level:
                    first = self.ids[joint.cells[0]]
                    found.append(joint.launch((*ids, first), record, words))
            wide = self.layers.get(level, [])
            cuts = range(0, len(wide), LAYERS)
            found += [self._deliver(ids, wide[k : k + LAYERS]) for k in cuts]
        return found

    def tick(self) -> Launch:
        """What takes part in a step that is too short."""
        return Launch(deliver_text(self.real, 1), "tick", 1, ())

    def _joint(self, cells: Sequence[Cells]) -> list[JointCells]:
        inputs: dict[Cells, list[Input]] = {group: [] for group in cells}
        readers = {id(r): group for group in cells for r in group.rings.values() if r is not None}
        for part in self.parts:
            if isinstance(part, Input):
                inputs[readers[id(part.ring)]].append(part)
        alike = defaultdict(list)
        for group in cells:
            alike[self.levels[group], key(group)].append(group)
        return [JointCells(groups, inputs, self.device) for groups in alike.values()]

    def _numbered(self) -> tuple[dict[Source, int], int]:
        """The id of the first neuron of each source, and how many ids there are."""
        ids: dict[Source, int] = {}
        many = 0
        for joint in self.joint:
            ids |= {group: many + joint.column(group) for group in joint.cells}
            many += joint.columns
        for train in self.trains:
            ids[train] = many
            many += train.count
        return ids, many

    def _places(self, cells: Sequence[Cells]) -> dict[int, Place]:
        found: dict[int, Place] = {}
        for group in cells:
            joint = self.of[group]
            for ring in group.rings.values():
                if ring is not None:
                    found[id(ring)] = joint, joint.input_of(group, ring), joint.column(group)
        return found

    def _list(self, level: int) -> tuple[int, int, int]:
        ids, counts = self._lists.get(level, (None, None))
        return at(ids), at(counts), self._many

    def _give(
        self, ids: tuple[int, int, int], record: tuple[int, int, int], words: Mapping[Source, int]
    ) -> Launch:
        rows = []
        for k, (train, given) in enumerate(zip(self.trains, self._given, strict=True)):
            place = words.get(train, -1), -(-train.count // 32)
            where = at(self.clock, TRAINS + k), self.ids[train]
            rows.append((*map(at, given), len(given[0]), *where, *place))
        trains = table(rows, self.device)
        arguments = (*ids, *record, at(trains))
        return Launch(deliver_text(self.real, 1), "give", len(rows), arguments, (trains,))

    def _deliver(self, ids: tuple[int, int, int], found: Sequence[Layer]) -> Launch:
        numbers = [number for layer in found for number in layer.arguments()]
        many, processors = len(found), _processors(self.device)
        each = max(min(BLOCKS * processors, MOST_BLOCKS * processors // many), 1)
        text = deliver_text(self.real, many)
        return Launch(text, "deliver", each * many, (*ids, *numbers))


def parts(operations: Sequence[Operation]) -> list[Operation]:
    """All but what records.

    Raises:
        BackendError: an operation that has no kernel.
    """
    for operation in operations:
        if not isinstance(operation, KNOWN):
            name = type(operation).__name__
            raise BackendError(f"{name} has no CUDA kernel; use device='cpu' for this network")
    return [part for part in operations if not isinstance(part, SpikeRecorder | StateRecorder)]


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count
