"""From a network's description to what an engine runs: rings, quanta, inputs and deliveries."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.engine import (
    Cells,
    CurrentInput,
    Delivery,
    NoiseInput,
    PoissonInput,
    Ring,
    SpikeSource,
)
from spikesim.network.memory import check_memory
from spikesim.network.population import Group, Population, SpikeTrains
from spikesim.network.projection import Projection
from spikesim.network.quantum import check_resolution, quanta, quantum
from spikesim.network.schedule import schedule
from spikesim.network.sources import Drive, Noise, Poisson

if TYPE_CHECKING:
    from spikesim.network.network import Network

Input: TypeAlias = PoissonInput | NoiseInput | CurrentInput

FIRST_OF_DRIVES = 1 << 20
"""Streams of random numbers below are those of populations."""


@dataclass
class Machine:
    """A built network, laid out as an engine takes it."""

    block: int
    groups: dict[Group, Cells | SpikeSource]
    """In the order in which they run."""
    rings: dict[tuple[Population, str], Ring]
    """Of those receptors that anything reaches."""
    inputs: dict[Drive, Input]
    deliveries: dict[Projection, Delivery]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a run changes, and the quanta it is counted in, by name; not copies."""
        found: dict[str, NDArray[Any]] = {}
        for group in self.groups:
            if isinstance(group, Population):
                found |= {f"{group.name}.{name}": state for name, state in group.state.items()}
        for (group, receptor), ring in self.rings.items():
            found[f"{group.name}.{receptor}.ring"] = ring.array
            found[f"{group.name}.{receptor}.quantum"] = np.array(ring.quantum)
        return found


def build(network: "Network") -> Machine:
    """Choose block, rings and quanta, and lay everything out.

    Raises:
        UserError: a cycle of zero delays, a receptor whose sums no quantum holds, too little
            memory.
    """
    block, order = schedule(network.groups, network.projections)
    slots = _slots(network, block)
    size = sum(slots[group, receptor] * group.size for group, receptor in slots)
    check_memory(size * network.dtype.itemsize, "the ring buffers of this network")
    rings = {at: _ring(network, *at, slots[at]) for at in slots}
    groups = {group: _group(network, group, block, rings) for group in order}
    return Machine(
        block=block,
        groups=groups,
        rings=rings,
        inputs={drive: _input(network, drive, rings) for drive in network.drives},
        deliveries={
            projection: _delivery(network, projection, groups, rings)
            for projection in network.projections
        },
    )


def _slots(network: "Network", block: int) -> dict[tuple[Population, str], int]:
    """Slots of the ring of each receptor that anything reaches."""
    longest = {(drive.post, drive.receptor): 0 for drive in network.drives}
    for projection in network.projections:
        at = projection.post, projection.receptor
        longest[at] = max(longest.get(at, 0), projection.largest_delay)
    return {at: 1 << (delay + block - 1).bit_length() for at, delay in longest.items()}


def _ring(network: "Network", post: Population, receptor: str, slots: int) -> Ring:
    """An empty ring, with the quantum for all that may arrive at once."""
    sources: list[Projection | Drive] = [*network.projections, *network.drives]
    arriving = [source for source in sources if source.post is post and source.receptor == receptor]
    bits = 8 * network.dtype.itemsize
    sums, terms = np.zeros(post.size), np.zeros(post.size)
    for source in arriving:
        size, count = source.at_most()
        sums += size
        terms += count
    unit = quantum(float(sums.max()), float(terms.max()), bits)
    where = f"{post.name}, receptor {receptor!r},"
    check_resolution(where, sums, unit, {s.name: s.typical() for s in arriving}, bits)
    return Ring(np.zeros((slots, post.size), f"int{bits}"), unit)


def _group(
    network: "Network", group: Group, block: int, rings: dict[tuple[Population, str], Ring]
) -> Cells | SpikeSource:
    spikes = np.zeros((block, -(-group.size // 32)), np.uint32)
    if isinstance(group, SpikeTrains):
        return SpikeSource(group.size, spikes, group.steps, group.senders)
    assert isinstance(group, Population)
    return Cells(
        neuron=group.neuron,
        count=group.size,
        dtype=network.dtype.name,
        parameters=group.parameters,
        state=group.state,
        rings={receptor: rings.get((group, receptor)) for receptor in group.receptors},
        spikes=spikes,
        seed=network.seed,
        stream=network.groups.index(group),
    )


def _input(network: "Network", drive: Drive, rings: dict[tuple[Population, str], Ring]) -> Input:
    ring = rings[drive.post, drive.receptor]
    place = network.seed, FIRST_OF_DRIVES + network.drives.index(drive)
    if isinstance(drive, Poisson):
        weight = int(quanta(drive.weight, ring))
        return PoissonInput(ring, _one_or_each(drive.mean_per_step(network.step)), weight, *place)
    if isinstance(drive, Noise):
        return NoiseInput(ring, _one_or_each(drive.at(0)), _one_or_each(drive.std), *place)
    values = quanta(drive.at(network.step), ring)
    return CurrentInput(ring, np.array(np.broadcast_to(values, drive.post.size)))


def renew(drive: Drive, input_: Input, step: int) -> None:
    """Let an input go on with what its function of time says at ``step``."""
    if isinstance(input_, PoissonInput):
        assert isinstance(drive, Poisson)
        input_.mean_per_step = _one_or_each(drive.mean_per_step(step))
    elif isinstance(input_, CurrentInput):
        input_.values[:] = quanta(drive.at(step), input_.ring)


def _one_or_each(values: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return float(values) if values.ndim == 0 else values


def _delivery(
    network: "Network",
    projection: Projection,
    groups: dict[Group, Cells | SpikeSource],
    rings: dict[tuple[Population, str], Ring],
) -> Delivery:
    ring = rings[projection.post, projection.receptor]
    return Delivery(
        source=groups[projection.pre],
        ring=ring,
        indptr=projection.indptr,
        place=projection.place,
        delay=projection.delay,
        weight=projection.settle(ring),
    )
