"""Synapses on a device: deliveries merged into layers, each with one row for every sender.

Rows are sorted by delay. Each step adds, of the spikes of the last steps, the segments that are due
in it: all to one sum per input of a neuron, which stay in the cache. A synapse takes 4 bytes, and 4
or 8 more where weights differ; a row 2 or 4 for each delay that occurs in its layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from spikesim.kernels import cupy_module
from spikesim.kernels.engine import Delivery, Source
from spikesim.kernels.engine_cuda_cells import JointCells
from spikesim.kernels.engine_cuda_launch import at, check_fits, on_device
from spikesim.kernels.print_update import THREADS, merge_text

Place = tuple[JointCells, int, int]
"""Of a ring: the cells it is of, which input, and the column of its first neuron."""
Given = tuple[Delivery, Tensor, Tensor, Tensor | None]
"""A delivery with its pointers, places and weights on the device."""


@dataclass(eq=False)
class Layer:
    """Rows of synapses from the sources of one level."""

    level: int
    real: str
    device: torch.device
    is_each: bool
    """Whether each synapse has a weight of its own; otherwise each row has one."""
    members: list[Delivery] = field(default_factory=list)
    numbers: dict[Source, int] = field(default_factory=dict)
    lags: Tensor = field(init=False)
    """Ascending: so many steps after a spike a segment of its row is added, for arrivals in the
    next step, or in this one where the receivers' turn is still to come."""
    begins: Tensor = field(init=False)
    ends: Tensor = field(init=False)
    place: Tensor = field(init=False)
    weight: Tensor = field(init=False)

    near: int = field(init=False)
    """Segments that are delivered in the step of the spike or in the next one."""

    def takes(self, delivery: Delivery) -> bool:
        """Whether a delivery fits in."""
        number = _number(delivery)
        is_each = number is None
        return self.is_each == is_each and self.numbers.get(delivery.source, number) == number

    def arguments(self, first: int, end: int) -> tuple[int, ...]:
        """The struct ``Layer`` of ``engine_deliver.cuh``, for some of its segments."""
        rows = at(self.begins), at(self.ends), self.ends.element_size(), at(self.place)
        weights = (at(self.weight), 0) if self.is_each else (0, at(self.weight))
        return (at(self.lags), first, end - first, len(self.lags), *rows, *weights)

    def fill(self, places: Mapping[int, Place], ids: Mapping[Source, int], many: int) -> None:
        """Merge the rows of all members.

        Args:
            places: of rings, by their ``id``.
            ids: of the first neuron of each source.
            many: ids there are.

        Raises:
            ValueError: arrays of a member do not fit each other, or lead beyond its ring.
            UserError: too little memory.
        """
        device = self.device
        given = [_given(member, device) for member in self.members]
        slots = max(len(member.ring.array) for member in self.members)
        lags = torch.zeros(slots, dtype=torch.int32, device=device)
        self._pass(given, places, ids, lags)
        self.lags = lags.nonzero().flatten().to(torch.int32)
        self.near = int((self.lags <= 1).sum())
        lengths = torch.zeros(many, dtype=torch.int64, device=device)
        for member, indptr, _, _ in given:
            lengths[_rows(member, ids)] += indptr.diff()
        self.begins = lengths.cumsum(0) - lengths
        size = int(lengths.sum())
        size += -size % 4  # read in fours
        whole = torch.int64 if self.real == "float64" else torch.int32
        of = size if self.is_each else many
        room = 4 * size + whole.itemsize * of + 8 * many * len(self.lags)
        check_fits(room, "the synapses of this network", device)
        counts = torch.zeros((many, len(self.lags)), dtype=torch.int32, device=device)
        segments = (lags.cumsum(0) - 1).to(torch.int32)
        self._pass(given, places, ids, segments, counts)
        self.ends = counts.cumsum(1, dtype=torch.int32).sub_(counts)
        del counts
        self.place = torch.zeros(size, dtype=torch.int32, device=device)
        self.weight = torch.zeros(of, dtype=whole, device=device)
        self._pass(given, places, ids, segments, self.ends, is_last=True)
        if int(lengths.max()) < 1 << 16:
            self.ends = self.ends.to(torch.int16)
        for source, number in self.numbers.items():
            self.weight[ids[source] : ids[source] + source.count] = number

    def _pass(
        self,
        given: Sequence[Given],
        places: Mapping[int, Place],
        ids: Mapping[Source, int],
        lags: Tensor,
        ends: Tensor | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        """One of the three of the kernel ``merge``, for all members."""
        wrong = torch.zeros(1, dtype=torch.int32, device=self.device)
        for member, indptr, place, weight in given:
            joint, input_, column = places[id(member.ring)]
            first, (slots, neurons) = ids[member.source], member.ring.array.shape
            many = len(self.lags) if ends is not None else 0
            arguments = (
                *(at(indptr), at(place), place.element_size()),
                *(at(weight), 0 if weight is None else weight.element_size()),
                *(member.source.count, neurons),
                *(-1 if member.delay is None else member.delay, slots),
                *(int(joint.level <= self.level), joint.place(input_, column)),
                *(at(lags), at(ends, first * many), many),
                *((at(self.begins, first), at(self.place)) if is_last else (0, 0)),
                *(at(self.weight) if is_last and self.is_each else 0, at(wrong)),
            )
            kernels = cupy_module.module(merge_text(self.real))
            grid = -(-member.source.count * 32 // THREADS)
            packed = np.array(arguments, np.int64)
            kernels.launch("merge", self.device, grid, THREADS, packed)
        if wrong.item():
            raise ValueError("a synapse leads beyond the neurons or the slots of its ring")


def layers(
    deliveries: Sequence[Delivery],
    level: int,
    places: Mapping[int, Place],
    ids: Mapping[Source, int],
    many: int,
) -> list[Layer]:
    """As few layers as hold all deliveries of a level; other arguments as of :meth:`Layer.fill`."""
    found: list[Layer] = []
    for delivery in deliveries:
        layer = next((layer for layer in found if layer.takes(delivery)), None)
        if layer is None:
            joint, _, _ = places[id(delivery.ring)]
            layer = Layer(level, joint.real.name, joint.device, _number(delivery) is None)
            found.append(layer)
        layer.members.append(delivery)
        number = _number(delivery)
        if number is not None:
            layer.numbers[delivery.source] = number
    for layer in found:
        layer.fill(places, ids, many)
    return [layer for layer in found if len(layer.lags)]


def _number(delivery: Delivery) -> int | None:
    """The weight of all synapses, if there is one."""
    return delivery.weight if isinstance(delivery.weight, int) else None


def _rows(delivery: Delivery, ids: Mapping[Source, int]) -> slice:
    first = ids[delivery.source]
    return slice(first, first + delivery.source.count)


def _given(delivery: Delivery, device: torch.device) -> Given:
    """Where rows begin, checked, and what they hold."""
    indptr, place, weight = delivery.indptr, delivery.place, delivery.weight
    if indptr.shape != (delivery.source.count + 1,):
        raise ValueError(f"indptr must be [{delivery.source.count + 1}], got {list(indptr.shape)}")
    found = on_device(indptr, device).to(torch.int64)
    if found[0] != 0 or (found.diff() < 0).any():
        raise ValueError("indptr must ascend from 0")
    shapes = [place.shape, *([] if isinstance(weight, int) else [weight.shape])]
    if any(tuple(shape) != (int(found[-1]),) for shape in shapes):
        raise ValueError(f"place and weight must be [{int(found[-1])}], as indptr says")
    weights = None if isinstance(weight, int) else on_device(weight, device)
    return delivery, found, on_device(place, device), weights
