"""A picture of a run: a raster of spikes, and the rates of populations below."""

from typing import TYPE_CHECKING

import numpy as np

from spikesim.errors import UserError
from spikesim.network.probe import SpikeProbe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spikesim.network.network import Network

BINS = 200
FEW = 10_000
"""Spikes that are drawn as larger points."""
MOST = 200_000
"""Points of a raster; above it every n-th spike is drawn."""


def plot(network: "Network", first: float, last: float) -> "Figure":
    """The picture of :meth:`Network.plot`."""
    from matplotlib.figure import Figure

    probes = [probe for probe in network.probes if isinstance(probe, SpikeProbe)]
    if not probes:
        raise UserError("nothing to plot: add net.probe(population, 'spikes') before the run")
    if not first < last:
        raise UserError(f"nothing to plot between {first} and {last} ms")
    figure = Figure(figsize=(8, 6), layout="constrained")
    raster, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    width = max(round((last - first) / BINS / network.dt), 1) * network.dt
    edges = np.arange(first, last + width / 2, width)
    row, places = 0, []
    for probe in probes:
        inside = (probe.times > first) & (probe.times <= last)
        times, senders = probe.times[inside], probe.senders[inside]
        rank = np.zeros(probe.group.size, int)
        rank[probe.neurons] = np.arange(probe.neurons.size)
        every = -(-times.size // MOST) or 1
        size = 3.0 if times.size < FEW else 1.0
        (line,) = raster.plot(
            times[::every], row + rank[senders[::every]], ".", markersize=size, markeredgewidth=0
        )
        # A spike counts to the bin in which its step ends.
        counts, _ = np.histogram(times - network.dt / 2, edges)
        hz = counts / (width * 1e-3 * probe.neurons.size)
        rates.step(edges[:-1], hz, where="post", color=line.get_color(), label=probe.group.name)
        places.append((row + probe.neurons.size / 2, probe.group.name))
        row += probe.neurons.size
    raster.set_yticks([place for place, _ in places], [name for _, name in places])
    raster.set_ylim(-0.5, row - 0.5)
    rates.set(xlabel="time (ms)", ylabel="rate (Hz)", xlim=(first, last))
    rates.legend(loc="upper right")
    return figure
