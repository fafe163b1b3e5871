"""From a network's description to what an engine runs: rings, quanta, inputs and deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.kernels.closed_loop import Feedback, Sums
from spikesim.kernels.engine import (
    Cells,
    CurrentInput,
    Delivery,
    EPropDelivery,
    Modulation,
    NoiseInput,
    PlasticDelivery,
    PoissonInput,
    Ring,
    SpikeSource,
)
from spikesim.network.distributed import Scalar, Share, check_same
from spikesim.network.distributed_arrays import ByColumn, Division
from spikesim.network.distributed_device import DeviceExchange
from spikesim.network.distributed_exchange import Exchange
from spikesim.network.given import check_held
from spikesim.network.memory import check_memory
from spikesim.network.plasticity.modulator import Modulator
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.population import Group, Population, SpikeTrains
from spikesim.network.projection import Projection
from spikesim.network.quantum import COARSE, check_resolution, quanta, quantum
from spikesim.network.readout import Readout
from spikesim.network.schedule import schedule, stages
from spikesim.network.sources import Drive, Noise, Poisson

if TYPE_CHECKING:
    from spikesim.network.network import Network

Input: TypeAlias = PoissonInput | NoiseInput | CurrentInput

FIRST_OF_DRIVES = 1 << 20
"""Streams of random numbers below are those of populations."""


@dataclass(frozen=True)
class Stage:
    """Groups that run before any of their spikes are handed on."""

    groups: Sequence[Group]
    exchange: Exchange | DeviceExchange | None = None
    """With other processes."""


@dataclass
class Machine:
    """A built network, laid out as an engine takes it."""

    block: int
    groups: dict[Group, Cells | SpikeSource]
    """In the order in which they run."""
    rings: dict[tuple[Population, str], Ring]
    """Of those receptors that anything reaches."""
    inputs: dict[Drive, Input]
    deliveries: dict[Projection, Delivery | PlasticDelivery | EPropDelivery]
    modulations: dict[Modulator, Modulation]
    sums: dict[Readout, Sums]
    stages: dict[Group, Stage]
    """By their last groups."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a run changes, and the quanta it is counted in, by name; not copies."""
        found: dict[str, NDArray[Any]] = {}
        for group in self.groups:
            if isinstance(group, Population):
                found |= {f"{group.name}.{name}": state for name, state in group.state.items()}
        for (group, receptor), ring in self.rings.items():
            found[f"{group.name}.{receptor}.ring"] = ring.array
            found[f"{group.name}.{receptor}.quantum"] = np.array(ring.quantum)
        for modulator in self.modulations:
            found[f"{modulator.name}.value"] = modulator.values
        for readout in self.sums:
            found[f"{readout.name}.weight"] = readout.weight
        for projection, delivery in self.deliveries.items():
            if isinstance(delivery, PlasticDelivery | EPropDelivery):
                found[f"{projection.name}.weight"] = delivery.weight
                arrays = delivery.state.arrays()
                found |= {f"{projection.name}.{name}": array for name, array in arrays.items()}
        return found

    def divisions(self) -> dict[str, Division]:
        """Of those :meth:`arrays` that are divided among processes."""
        found: dict[str, Division] = {
            f"{group.name}.{receptor}.ring": ByColumn(group.share)
            for group, receptor in self.rings
            if not group.share.is_whole
        }
        for projection in self.deliveries:
            if isinstance(projection, PlasticProjection) and projection.division is not None:
                divisions = projection.divisions().items()
                found |= {f"{projection.name}.{name}": division for name, division in divisions}
        return found

    def catch_up(self) -> None:
        """Let plastic synapses take up all spikes so far, which changes nothing that follows.

        States of neurons that run in other processes are fetched; every process must call it.
        """
        for group in self.groups:
            if isinstance(group, Population):
                for state in group.state.values():
                    state[:] = group.share.whole(group.share.own(state))
        for modulator in self.modulations:
            if (division := modulator.division) is not None:
                modulator.values[:] = division.whole(division.own(modulator.values))
        for projection in self.deliveries:
            if isinstance(projection, PlasticProjection):
                projection.catch_up()


def build(network: "Network") -> Machine:
    """Choose block, rings and quanta, and lay everything out.

    Raises:
        UserError: a cycle of zero delays, a receptor whose sums no quantum holds, too little
            memory.
    """
    feeding = [readout for readout in network.readouts if readout.feedback is not None]
    block, order = schedule(network.groups, [*network.projections, *feeding])
    slots = _slots(network, block)
    size = sum(slots[group, receptor] * group.share.count for group, receptor in slots)
    check_memory(size * network.dtype.itemsize, "the ring buffers of this network")
    rings = {at: _ring(network, *at, slots[at]) for at in slots}
    groups = {group: _group(network, group, block, rings) for group in order}
    modulations = {m: _modulation(m, block) for m in network.modulators}
    machine = Machine(
        block=block,
        groups=groups,
        rings=rings,
        inputs={drive: _input(network, drive, rings) for drive in network.drives},
        deliveries={
            projection: _delivery(network, projection, groups, rings, modulations, block)
            for projection in network.projections
        },
        modulations=modulations,
        sums={r: _sums(network, r, groups, rings, block) for r in network.readouts},
        stages={group: Stage([group]) for group in order},
    )
    if network.world.size > 1:
        _divide(network, machine)
    return machine


def _divide(network: "Network", machine: Machine) -> None:
    """Let the processes exchange spikes.

    Raises:
        UserError: another process has another network.
    """
    world, block, deliveries = network.world, machine.block, machine.deliveries
    facts: dict[str, object] = {
        name: getattr(network, name) for name in ("dt", "seed", "dtype", "neurons", "synapses")
    }
    facts["the kind of device"] = network.device.type
    facts |= {f"the size of {group.name!r}": group.size for group in network.groups}
    facts |= {f"the size of {projection.name!r}": len(projection) for projection in deliveries}
    facts |= {f"the target of {drive.name!r}": drive.post.name for drive in machine.inputs}
    facts |= {f"the quantum of {at[0].name!r}": ring.quantum for at, ring in machine.rings.items()}
    check_same(world, facts)
    machine.stages.clear()
    sending = {p.pre for p in deliveries if isinstance(p.pre, Population)}
    is_on_cpu = network.device.type == "cpu"
    steps = block
    if not is_on_cpu:
        # All groups run a step there before any runs the next one.
        shortest = min((p.least_delay for p in deliveries if p.pre in sending), default=block)
        steps = min(block, 1 << max(shortest, 1).bit_length() - 1)
    for groups in stages(list(machine.groups), network.projections, steps):
        shares: dict[Group, Share] = {g: g.share for g in groups if g in sending}
        exchange: Exchange | DeviceExchange | None = None
        if not is_on_cpu:
            how = world, shares, machine.groups, block, steps, network.device
            exchange = DeviceExchange(*how)
        elif shares:
            exchange = Exchange(world, shares, block)
            for group, bits in exchange.own.items():
                machine.groups[group].spikes = bits
        machine.stages[groups[-1]] = Stage(groups, exchange)
        for projection, delivery in deliveries.items():
            if projection.pre in shares:
                assert exchange is not None
                delivery.source = exchange.received[projection.pre]


def _slots(network: "Network", block: int) -> dict[tuple[Population, str], int]:
    """Slots of the ring of each receptor that anything reaches."""
    longest = {(drive.post, drive.receptor): 0 for drive in network.drives}
    for projection in network.projections:
        at = projection.post, projection.receptor
        longest[at] = max(longest.get(at, 0), projection.largest_delay)
    for readout in network.readouts:
        if readout.feedback is not None:
            at = readout.post, readout.receptor
            longest[at] = max(longest.get(at, 0), readout.least_delay)
    return {at: 1 << (delay + block - 1).bit_length() for at, delay in longest.items()}


def _ring(network: "Network", post: Population, receptor: str, slots: int) -> Ring:
    """An empty ring, with the quantum for all that may arrive at once."""
    sources: list[Projection | Drive | Readout]
    sources = [*network.projections, *network.drives, *network.readouts]
    arriving = [source for source in sources if source.post is post and source.receptor == receptor]
    bits = 8 * network.dtype.itemsize
    sums, terms = np.zeros(post.size), np.zeros(post.size)
    for source in arriving:
        size, count = source.at_most()
        sums += size
        terms += count
    where = f"{post.name}, receptor {receptor!r},"
    check_held(f"{where} neuron {sums.argmax()}: what may arrive in a step", sums, network.dtype)
    unit = quantum(float(sums.max()), float(terms.max()), bits)
    typical = {source.name: source.typical() for source in arriving}
    given = [source for source in arriving if isinstance(source, Projection)]
    weights = {p.name: sizes for p in given if (sizes := p.sizes(COARSE * unit)) is not None}
    check_resolution(where, sums, unit, typical, weights, bits)
    return Ring(np.zeros((slots, post.share.count), f"int{bits}"), unit)


def _group(
    network: "Network", group: Group, block: int, rings: dict[tuple[Population, str], Ring]
) -> Cells | SpikeSource:
    share = group.share
    spikes = np.zeros((block, -(-share.count // 32)), np.uint32)
    if isinstance(group, SpikeTrains):
        return SpikeSource(group.size, spikes, group.steps, group.senders)
    assert isinstance(group, Population)
    return Cells(
        neuron=group.neuron,
        count=share.count,
        dtype=network.dtype.name,
        parameters={name: _own(value, share) for name, value in group.parameters.items()},
        state={name: share.own(state) for name, state in group.state.items()},
        rings={receptor: rings.get((group, receptor)) for receptor in group.receptors},
        spikes=spikes,
        seed=network.seed,
        stream=network.groups.index(group),
        first=share.first,
    )


def _input(network: "Network", drive: Drive, rings: dict[tuple[Population, str], Ring]) -> Input:
    ring, share = rings[drive.post, drive.receptor], drive.post.share
    place = network.seed, FIRST_OF_DRIVES + network.drives.index(drive), share.first
    if isinstance(drive, Poisson):
        weight = int(quanta(drive.weight, ring))
        return PoissonInput(ring, _own(drive.mean_per_step(network.step), share), weight, *place)
    if isinstance(drive, Noise):
        return NoiseInput(ring, _own(drive.at(0), share), _own(drive.std, share), *place)
    values = quanta(_own(drive.at(network.step), share), ring)
    return CurrentInput(ring, np.array(np.broadcast_to(values, share.count)))


def _modulation(modulator: Modulator, block: int) -> Modulation:
    division, values = modulator.division, modulator.values
    own = values if division is None else division.own(values)
    return Modulation(own, modulator.factor, np.zeros((block, own.size)))


def renew(drive: Drive, input_: Input, step: int) -> None:
    """Let an input go on with what its function of time says at ``step``."""
    if isinstance(input_, PoissonInput):
        assert isinstance(drive, Poisson)
        input_.mean_per_step = _own(drive.mean_per_step(step), drive.post.share)
    elif isinstance(input_, CurrentInput):
        input_.values[:] = quanta(_own(drive.at(step), drive.post.share), input_.ring)


def _sums(
    network: "Network",
    readout: Readout,
    groups: dict[Group, Cells | SpikeSource],
    rings: dict[tuple[Population, str], Ring],
    block: int,
) -> Sums:
    cells, values = groups[readout.pre], np.zeros((1, len(readout.weight)))
    assert isinstance(cells, Cells)
    back = None
    if readout.feedback is not None:
        ring = rings[readout.post, readout.receptor]
        back = Feedback(ring, readout.feedback, readout.least_delay, readout.largest)
    return Sums(cells, readout.state, readout.weight, values, feedback=back)


def _own(values: float | NDArray[Scalar], share: Share) -> float | NDArray[Scalar]:
    """One value for all, or those of this process's neurons."""
    return share.own(values) if isinstance(values, np.ndarray) and values.ndim else float(values)


def _delivery(
    network: "Network",
    projection: Projection,
    groups: dict[Group, Cells | SpikeSource],
    rings: dict[tuple[Population, str], Ring],
    modulations: dict[Modulator, Modulation],
    block: int,
) -> Delivery | PlasticDelivery | EPropDelivery:
    ring, source = rings[projection.post, projection.receptor], groups[projection.pre]
    if isinstance(projection, PlasticProjection):
        target, modulator = groups[projection.post], projection.modulator
        assert isinstance(target, Cells)
        modulation = None if modulator is None else modulations[modulator]
        how = source, target, ring, modulation, block
        return projection.operation(*how, step=lambda: network.step)
    return Delivery(
        source=source,
        ring=ring,
        indptr=projection.indptr,
        place=projection.place,
        delay=projection.delay,
        weight=projection.settle(ring),
    )
