"""What a simulated network did in a run: spikes, synaptic events, updates, and its memory.

A synaptic event is a spike times a synapse. It is counted when the spike is sent, whether or not
its delay ends within the run: so events are the sum of recorded spikes times out-degree exactly,
and those of two runs in a row add up to those of one. A synapse whose weight is 0 has events too,
as in the engine.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spikesim.counts import emitted
from spikesim.energy.arithmetic import arithmetic
from spikesim.energy.layer import BINARY, REAL, Counts, LayerCounts
from spikesim.energy.plasticity import count_plasticity
from spikesim.errors import UserError
from spikesim.kernels.engine import CpuEngine, Delivery, PoissonInput, Ring
from spikesim.network.given import real
from spikesim.network.grid import whole_steps
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.population import Group, Population
from spikesim.network.probe import SpikeCountProbe
from spikesim.network.projection import Projection
from spikesim.network.readout import Readout
from spikesim.network.sources import Drive, Poisson

if TYPE_CHECKING:
    from spikesim.network.network import Network

_BLOCK = 32
"""Steps that Poisson spikes are drawn for at once."""


def count_network(network: "Network", ms: float, *, progress: bool = False) -> Counts:
    """Run a network on for ``ms``, as it would have run anyway, and count what it does.

    Layers are, by kind: ``neuron``: each population and each source of given spikes; ``synapses``:
    each projection, and the Poisson spikes of each drive, one by one as they were drawn, of which
    a neuron may get several in a step, for which ``macs`` has one;
    ``elementwise``: currents and noise; ``linear``: readouts; ``learning``: what plastic synapses
    do beside sending. An event reads a weight, and reads and writes a place in the ring of delays
    (``state_reads``, ``state_writes``). Memory is a number a neuron.

    Args:
        network: of :mod:`spikesim.network`, new or run before, in one process.
        ms: biological time, a multiple of ``dt``.
        progress: as in :meth:`Network.run`.

    Returns:
        counts of one sample, the run; ``parameters`` are plastic weights, ``footprint`` the bytes
        of all synapses.

    Raises:
        UserError: several processes, no population, or no step to count.

    >>> from spikesim.network import AllToAll, Network
    >>> from spikesim.neurons import LIFDelta
    >>> net = Network(dt=1.0)
    >>> cells = net.population(LIFDelta(), 5, name="cells")
    >>> given = net.spikes([2.0, 5.0, 7.0], [0, 2, 0], 3, name="given")
    >>> synapses = net.connect(given, cells, AllToAll(), delay=4.0)
    >>> count_network(net, 10.0).total("effective_acs")
    15.0
    """
    if network.world.size > 1:
        raise UserError("a network is counted in one process; run it without torchrun")
    if not network.groups:
        raise UserError("the network has nothing to count: add a population")
    steps = int(whole_steps(real("run", ms), network.dt, "run"))
    if not steps:
        raise UserError(f"a run of {ms} ms has no step to count; give at least dt={network.dt} ms")
    watches = {group: _Watch(network, group) for group in network.groups}
    network.probes += watches.values()
    try:
        network.run(ms, progress=progress)
    finally:
        for watch in watches.values():
            network.probes.remove(watch)
    spikes = {group: watch.counts for group, watch in watches.items()}
    drawn = {drive: count for watch in watches.values() for drive, count in watch.drawn.items()}
    layers = [_count_group(group, spikes[group], steps) for group in network.groups]
    layers += [_count_projection(network, p, spikes[p.pre], steps) for p in network.projections]
    layers += [_count_drive(drive, drawn.get(drive), steps) for drive in network.drives]
    layers += [_count_readout(readout, steps) for readout in network.readouts]
    for projection in network.projections:
        sent, heard = spikes[projection.pre], spikes[projection.post]
        if isinstance(projection, PlasticProjection):
            layers.append(count_plasticity(projection, sent, heard, steps))
    what = f"{ms:g} ms of biological time: {steps} steps of {network.dt:g} ms"
    memories = [synapse_memory(network, projection) for projection in network.projections]
    return Counts(
        tuple(layers),
        samples=1,
        steps=steps,
        notes=(what,),
        parameters=float(sum(len(p) for p in network.projections if p.is_plastic)),
        footprint=sum(memory.bits for memory in memories) / 8,
    )


class _Watch(SpikeCountProbe):
    """Spikes of a group, and Poisson spikes that it was sent, drawn once more with the same bits.

    A piece of a run ends where a function of time is asked again, so that rates are those that the
    piece was run with.
    """

    def __init__(self, network: "Network", group: Group) -> None:
        super().__init__(group, network.dt, network.step)
        self._network = network
        self.is_spiking = not isinstance(group, Population) or emitted(group.neuron) == 1
        self.drawn: dict[Drive, int] = {
            drive: 0
            for drive in network.drives
            if isinstance(drive, Poisson) and drive.post is group
        }

    def take(self, bits: NDArray[np.uint32]) -> None:
        """Count what happened in the next steps."""
        inputs = self._network._built().inputs
        for drive in self.drawn:
            input_ = inputs[drive]
            assert isinstance(input_, PoissonInput)
            ring = Ring(np.zeros((_BLOCK, self.group.size), np.int64), 1.0)
            again = PoissonInput(ring, input_.mean_per_step, 1, input_.seed, input_.stream)
            CpuEngine([again], _BLOCK, self._network.threads).run(self.step, len(bits))
            self.drawn[drive] += int(ring.array.sum())
        if self.is_spiking:
            super().take(bits)
        else:
            self.step += len(bits)


def _count_group(group: Group, spikes: NDArray[np.int64], steps: int) -> LayerCounts:
    fired, elements = float(spikes.sum()), float(group.size * steps)
    if not isinstance(group, Population):
        return LayerCounts(
            name=group.name,
            kind="neuron",
            emitted=BINARY,
            spikes=fired,
            rate=fired / elements,
            outputs=elements,
            nonzero_outputs=fired,
            passes=steps,
            note="given spikes: nothing is updated",
        )
    is_spiking = emitted(group.neuron) == 1
    states = elements * len(group.neuron.states)
    work = elements * arithmetic(group.neuron.bound().program.lines)
    return LayerCounts(
        name=group.name,
        kind="neuron",
        emitted=BINARY if is_spiking else REAL,
        spikes=fired,
        rate=fired / elements if is_spiking else None,
        outputs=elements,
        nonzero_outputs=fired if is_spiking else elements,
        updates=elements,
        state_reads=states,
        state_writes=states,
        passes=steps,
        note=type(group.neuron).__name__,
        additions=work.additions,
        multiplications=work.multiplications,
        functions=work.functions,
    )


def _count_projection(
    network: "Network", projection: Projection, spikes: NDArray[np.int64], steps: int
) -> LayerCounts:
    fired, elements = float(spikes.sum()), float(projection.pre.size * steps)
    events = float(np.dot(spikes, out_degree(projection)))
    memory = synapse_memory(network, projection)
    return LayerCounts(
        name=projection.name,
        kind="synapses",
        values=BINARY,
        macs=float(len(projection) * steps),
        effective_acs=events,
        ann_macs=float(len(projection)),
        spikes=fired,
        rate=fired / elements,
        inputs=elements,
        outputs=float(projection.post.size * steps),
        weights=float(len(projection)),
        nonzero_weights=float(np.count_nonzero(projection.weights())),
        weight_reads=events,
        state_reads=events,
        state_writes=events,
        passes=steps,
        note=f"{memory.bits / 8 / max(len(projection), 1):.3g} bytes a synapse",
    )


def _count_drive(drive: Drive, drawn: int | None, steps: int) -> LayerCounts:
    elements = float(drive.post.size * steps)
    if drawn is None:
        note = f"{type(drive).__name__.lower()} from outside; drawing it is the simulation's cost"
        return LayerCounts(
            name=drive.name,
            kind="elementwise",
            additions=elements,
            outputs=elements,
            passes=steps,
            note=note,
        )
    return LayerCounts(
        name=drive.name,
        kind="synapses",
        values=BINARY,
        macs=elements,
        effective_acs=float(drawn),
        ann_macs=float(drive.post.size),
        spikes=float(drawn),
        rate=drawn / elements,
        inputs=elements,
        outputs=elements,
        weights=1.0,
        nonzero_weights=float(bool(drive.typical())),
        weight_reads=float(drawn),
        state_reads=float(drawn),
        state_writes=float(drawn),
        passes=steps,
        note="Poisson spikes from outside; drawing them is the simulation's cost",
    )


def _count_readout(readout: Readout, steps: int) -> LayerCounts:
    tables = [readout.weight, *([] if readout.feedback is None else [readout.feedback])]
    weights = float(sum(table.size for table in tables))
    return LayerCounts(
        name=readout.name,
        kind="linear",
        values=REAL,
        macs=weights * steps,
        effective_macs=weights * steps,
        ann_macs=weights,
        spikes=float(readout.pre.size * steps),
        inputs=float(readout.pre.size * steps),
        outputs=float(len(readout.weight) * steps),
        weights=weights,
        nonzero_weights=float(sum(np.count_nonzero(table) for table in tables)),
        weight_reads=weights * steps,
        passes=steps,
        note="states are taken as never 0",
    )


def out_degree(projection: Projection) -> NDArray[np.int64]:
    """Synapses of each sender, ``[pre.size]``; several onto one receiver count each."""
    return np.diff(projection.builder.download(projection.indptr))


@dataclass(frozen=True)
class SynapseMemory:
    """Bits in which the synapses of a projection lie, as they are built.

    Attributes:
        places: targets, and delays where they differ: 16 or 32 a synapse.
        weights: 32 or 64 a synapse, none where all are the same.
        rows: where the synapses of each sender begin.
        learning: eligibilities, traces and kept spikes of plastic ones.
    """

    places: int
    weights: int
    rows: int
    learning: int

    @property
    def bits(self) -> int:
        """All of them."""
        return self.places + self.weights + self.rows + self.learning


def synapse_memory(network: "Network", projection: Projection) -> SynapseMemory:
    """What the synapses of a projection take; the engine of a GPU adds tables of its own."""
    built = network._built().deliveries[projection]
    kept = {} if isinstance(built, Delivery) else built.state.arrays()
    return SynapseMemory(
        places=8 * built.place.nbytes,
        weights=0 if isinstance(built.weight, int) else 8 * built.weight.nbytes,
        rows=8 * built.indptr.nbytes,
        learning=8 * sum(array.nbytes for array in kept.values()),
    )
