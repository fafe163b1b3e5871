"""Synapses on a device: deliveries merged into layers, each with one row for every sender.

A sender's targets in all populations that are updated together lie in one row, as long as they are
reached through the same input: long rows are shared well among threads. A synapse takes 4 bytes,
and 4 or 8 more where weights differ, as a number of the ring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels import cupy_module
from spikesim.kernels.engine import Delivery, Source
from spikesim.kernels.engine_cuda_cells import JointCells
from spikesim.kernels.engine_cuda_launch import at, on_device
from spikesim.kernels.print_update import THREADS, merge_text

Place = tuple[JointCells, int, int]
"""Of a ring: the cells it is of, which input, and the column of its first neuron."""


@dataclass(eq=False)
class Layer:
    """Rows of synapses onto one input of some cells."""

    cells: JointCells
    input: int
    is_each: bool
    """Whether each synapse has a weight of its own; otherwise each row has one."""
    members: list[Delivery] = field(default_factory=list)
    numbers: dict[Source, int] = field(default_factory=dict)
    begins: Tensor = field(init=False)
    place: Tensor = field(init=False)
    weight: Tensor = field(init=False)

    @property
    def ring(self) -> Tensor:
        """Where it leads."""
        ring = self.cells.rings[self.input]
        assert ring is not None
        return ring

    def takes(self, delivery: Delivery, cells: JointCells, input_: int) -> bool:
        """Whether a delivery fits in."""
        number = _number(delivery)
        return (self.cells, self.input, self.is_each) == (
            cells,
            input_,
            number is None,
        ) and self.numbers.get(delivery.source, number) == number

    def arguments(self) -> tuple[int, ...]:
        """The struct ``Layer`` of ``engine_deliver.cuh``."""
        weights = (at(self.weight), 0) if self.is_each else (0, at(self.weight))
        ring = self.ring
        return (at(self.begins), at(self.place), *weights, at(ring), ring.shape[1], len(ring) - 1)

    def fill(self, places: Mapping[int, Place], ids: Mapping[Source, int], many: int) -> None:
        """Merge the rows of all members.

        Args:
            places: of rings, by their ``id``.
            ids: of the first neuron of each source.
            many: ids there are.

        Raises:
            ValueError: arrays of a member do not fit each other, or lead beyond its ring.
        """
        ring, device = self.ring, self.cells.device
        lengths = torch.zeros(many + 1, dtype=torch.int64, device=device)
        pointers = [_pointers(member, device) for member in self.members]
        for member, indptr in zip(self.members, pointers, strict=True):
            first = ids[member.source] + 1
            lengths[first : first + member.source.count] += indptr.diff()
        self.begins = lengths.cumsum(0)
        size = int(self.begins[-1])
        size += -size % 4  # read in fours
        self.place = torch.zeros(size, dtype=torch.int32, device=device)
        of = size if self.is_each else many
        self.weight = torch.zeros(of, dtype=ring.dtype, device=device)
        wrong = torch.zeros(1, dtype=torch.int32, device=device)
        to = self.begins[:-1].clone()
        for member, indptr in zip(self.members, pointers, strict=True):
            rows = slice(ids[member.source], ids[member.source] + member.source.count)
            column = places[id(member.ring)][2]
            self._merge(member, indptr, to[rows], column, wrong)
            to[rows] += indptr.diff()
            number = _number(member)
            if number is not None:
                self.weight[rows] = number
        if wrong.item():
            raise ValueError("a synapse leads beyond the neurons or the slots of its ring")

    def _merge(
        self, member: Delivery, indptr: Tensor, to: Tensor, column: int, wrong: Tensor
    ) -> None:
        device = self.cells.device
        slots, neurons = member.ring.array.shape
        place = on_device(member.place, device)
        given = member.weight
        weight = None if isinstance(given, int) else on_device(given, device)
        arguments = (
            *(at(indptr), at(place), place.element_size()),
            *(at(weight), 0 if weight is None else weight.element_size()),
            *(at(to), member.source.count, neurons),
            *(-1 if member.delay is None else member.delay, slots),
            *(column, self.cells.columns),
            *(at(self.place), at(self.weight) * self.is_each, at(wrong)),
        )
        text = merge_text(self.cells.real.name)
        grid = -(-member.source.count * 32 // THREADS)
        packed = np.array(arguments, np.int64)
        cupy_module.module(text).launch("merge", device, grid, THREADS, packed)


def layers(
    deliveries: Sequence[Delivery],
    places: Mapping[int, Place],
    ids: Mapping[Source, int],
    many: int,
) -> list[Layer]:
    """As few layers as hold all deliveries; arguments as of :meth:`Layer.fill`."""
    found: list[Layer] = []
    for delivery in deliveries:
        cells, input_, _ = places[id(delivery.ring)]
        layer = next((layer for layer in found if layer.takes(delivery, cells, input_)), None)
        if layer is None:
            layer = Layer(cells, input_, _number(delivery) is None)
            found.append(layer)
        layer.members.append(delivery)
        number = _number(delivery)
        if number is not None:
            layer.numbers[delivery.source] = number
    for layer in found:
        layer.fill(places, ids, many)
    return found


def _number(delivery: Delivery) -> int | None:
    """The weight of all synapses, if there is one."""
    return delivery.weight if isinstance(delivery.weight, int) else None


def _pointers(delivery: Delivery, device: torch.device) -> Tensor:
    """Where rows begin, checked."""
    indptr, place, weight = delivery.indptr, delivery.place, delivery.weight
    if indptr.shape != (delivery.source.count + 1,):
        raise ValueError(f"indptr must be [{delivery.source.count + 1}], got {list(indptr.shape)}")
    found = on_device(indptr, device).to(torch.int64)
    if found[0] != 0 or (found.diff() < 0).any():
        raise ValueError("indptr must ascend from 0")
    shapes = [place.shape, *([] if isinstance(weight, int) else [weight.shape])]
    if any(tuple(shape) != (int(found[-1]),) for shape in shapes):
        raise ValueError(f"place and weight must be [{int(found[-1])}], as indptr says")
    return found
