"""Which operations of a step must wait for others."""

from collections.abc import Sequence

import torch

from spikesim.kernels.engine import (
    Cells,
    Delivery,
    Operation,
    Source,
    SpikeSource,
)
from spikesim.kernels.exchange import Exchanged


def levels(operations: Sequence[Operation]) -> dict[Source, int]:
    """Of each source how many deliveries without delay lead to it, one after the other.

    Sources of one level are updated together, then all of their spikes delivered. Where processes
    exchange spikes, all exchange them as often: each exchange ends a level.

    Raises:
        ValueError: a delivery without delay comes after the cells that it reaches.
    """
    if any(isinstance(operation, Exchanged) for operation in operations):
        return _exchanged(operations)
    found: dict[Source, int] = {}
    least: dict[int, int] = {}
    read: set[int] = set()
    for operation in operations:
        if isinstance(operation, Cells):
            rings = {id(ring) for ring in operation.rings.values() if ring is not None}
            found[operation] = max((least.get(ring, 0) for ring in rings), default=0)
            read |= rings
        elif isinstance(operation, SpikeSource):
            found[operation] = 0
        elif isinstance(operation, Delivery) and is_immediate(operation):
            ring = id(operation.ring)
            if ring in read:
                raise ValueError("a delivery without delay comes after the cells that it reaches")
            least[ring] = max(least.get(ring, 0), found[operation.source] + 1)
    return found


def _exchanged(operations: Sequence[Operation]) -> dict[Source, int]:
    found: dict[Source, int] = {}
    level = 0
    for operation in operations:
        if isinstance(operation, Cells):
            found[operation] = level
        elif isinstance(operation, SpikeSource):
            found[operation] = 0
        elif isinstance(operation, Exchanged):
            found |= {member.received: level for member in operation.members}
            level += 1
    return found


def is_immediate(delivery: Delivery) -> bool:
    """Whether any of its synapses has no delay."""
    if delivery.delay is not None:
        return delivery.delay == 0 and len(delivery.place) > 0
    place, neurons = delivery.place, delivery.ring.array.shape[1]
    if isinstance(place, torch.Tensor):
        # As numbers with a sign: torch compares no others on every device.
        size = place.element_size()
        bits = place.view({2: torch.int16, 4: torch.int32}[size])
        return bool(((bits >= 0) & (bits < neurons)).any())
    return bool((place < neurons).any())
