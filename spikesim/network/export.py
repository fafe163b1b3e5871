"""What probes recorded, as plain arrays: to be analysed, kept in a file, or handed to other tools.

``index`` counts the neurons of all groups through, in the order of the network; times are in ms.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.plasticity.probe import WeightProbe
from spikesim.network.population import Group, Population
from spikesim.network.probe import RateProbe, SpikeProbe, StateProbe
from spikesim.network.readout import ReadoutProbe
from spikesim.neurons.izhikevich import Izhikevich
from spikesim.neurons.izhikevich_2007 import Izhikevich2007
from spikesim.neurons.meta import MetaNeuron
from spikesim.neurons.point import PointNeuron

if TYPE_CHECKING:
    from spikesim.network.network import Network


@dataclass(frozen=True, eq=False)
class Trains:
    """Spikes of one group.

    Attributes:
        name, size: of the group.
        neurons: those watched, ``[watched]``.
        senders: the neuron of each spike, ``[spikes]``.
        times: of each spike, ms, ascending, ``[spikes]``.
        start, stop: from when to when they were watched, ms.
    """

    name: str
    size: int
    neurons: NDArray[np.int32]
    senders: NDArray[np.int32]
    times: NDArray[np.float64]
    start: float
    stop: float


@dataclass(frozen=True, eq=False)
class Series:
    """Values over time: of a state variable, the mean rate of a group, weights, or a readout.

    Attributes:
        name: of the group, the projection or the readout.
        what: the state variable, ``"rate"``, ``"weight"`` or ``"value"``.
        unit: ``"Hz"``, ``"mV"``, or ``""`` where the neuron's documentation tells.
        which: neurons watched, synapses in the order of ``projection.table()``, or outputs,
            ``[watched]``.
        times: of the values, ms, ``[times]``.
        values: ``[times, watched]``; of a rate ``[times]``.
    """

    name: str
    what: str
    unit: str
    which: NDArray[np.integer[Any]]
    times: NDArray[np.float64]
    values: NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Recording:
    """All that the probes of a network recorded.

    Attributes:
        dt: step, ms.
        trains: by group.
        series: of all else, in the order of their probes.
    """

    dt: float
    trains: tuple[Trains, ...]
    series: tuple[Series, ...]

    def merged(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All spikes by time: ``index``, counted through all groups, and time in ms, ``[spikes]``.

        >>> a = np.array([0, 1], np.int32)
        >>> first = Trains("a", 2, a, a, np.array([1.0, 3.0]), 0.0, 5.0)
        >>> second = Trains("b", 2, a, a, np.array([2.0, 3.0]), 0.0, 5.0)
        >>> Recording(1.0, (first, second), ()).merged()[0].tolist()
        [0, 2, 1, 3]
        """
        offsets = np.cumsum([0, *(train.size for train in self.trains)])
        index = [t.senders.astype(np.int64) + o for t, o in zip(self.trains, offsets, strict=False)]
        times = np.concatenate([np.zeros(0), *(train.times for train in self.trains)])
        order = np.argsort(times, kind="stable")
        return np.concatenate([np.zeros(0, np.int64), *index])[order], times[order]


def record(network: "Network") -> Recording:
    """What the probes of a network hold.

    Of several processes each must call it, and has what all of them recorded.

    Raises:
        UserError: there is none, or two of the spikes of a group.

    >>> from spikesim.network import Network
    >>> net = Network(dt=1.0)
    >>> probe = net.probe(net.spikes([2.0, 5.0, 7.0], [0, 2, 0], 3), "spikes")
    >>> net.run(10.0)
    >>> record(net).trains[0].times.tolist()
    [2.0, 5.0, 7.0]
    """
    probes = [probe.gather() for probe in network.probes]
    spikes = [probe for probe in probes if isinstance(probe, SpikeProbe)]
    kinds = StateProbe | RateProbe | WeightProbe | ReadoutProbe
    series = [probe for probe in probes if isinstance(probe, kinds)]
    if not probes:
        raise UserError("nothing to export: add net.probe(population, 'spikes') before the run")
    by_group: dict[Group, SpikeProbe] = {}
    for probe in spikes:
        if probe.group in by_group:
            raise UserError(
                f"{probe.group.name} has two probes of spikes; export needs one for each group"
            )
        by_group[probe.group] = probe
    # In the order of the network, whichever way the probes were added.
    ordered = (by_group[group] for group in network.groups if group in by_group)
    return Recording(network.dt, tuple(map(_trains, ordered)), tuple(map(_series, series)))


def spike_trains(spikes: SpikeProbe | Trains) -> list[NDArray[np.float64]]:
    """The times of each neuron watched, ms, ascending: one array per neuron, also of silent ones.

    >>> from spikesim.network import Network
    >>> net = Network(dt=1.0)
    >>> probe = net.probe(net.spikes([2.0, 5.0, 7.0], [0, 2, 0], 3), "spikes", neurons=[2, 1, 0])
    >>> net.run(10.0)
    >>> tuple(train.size for train in spike_trains(probe))
    (1, 0, 2)
    """
    order = np.argsort(spikes.senders, kind="stable")
    senders, times = spikes.senders[order], spikes.times[order]
    begin = np.searchsorted(senders, spikes.neurons, "left")
    end = np.searchsorted(senders, spikes.neurons, "right")
    return [times[a:b] for a, b in zip(begin, end, strict=True)]


def _trains(probe: SpikeProbe) -> Trains:
    start, stop = probe.first * probe.dt, probe.step * probe.dt
    group = probe.group
    return Trains(group.name, group.size, probe.neurons, probe.senders, probe.times, start, stop)


def _series(probe: StateProbe | RateProbe | WeightProbe | ReadoutProbe) -> Series:
    values = probe.times, probe.values
    if isinstance(probe, ReadoutProbe):
        readout = probe.readout
        return Series(readout.name, "value", "", np.arange(len(readout.weight)), *values)
    if isinstance(probe, WeightProbe):
        return Series(probe.projection.name, "weight", "", probe.synapses, *values)
    if isinstance(probe, RateProbe):
        return Series(probe.group.name, "rate", "Hz", probe.neurons, *values)
    unit = unit_of(probe.group, probe.state)
    return Series(probe.group.name, probe.state, unit, probe.neurons, *values)


def unit_of(group: Population, state: str) -> str:
    """The unit of a state variable: ``"mV"``, or ``""`` where the neuron's documentation tells."""
    neuron = group.neuron
    in_mv = isinstance(neuron, PointNeuron | Izhikevich | Izhikevich2007)
    return "mV" if state == "v" and in_mv and not isinstance(neuron, MetaNeuron) else ""
