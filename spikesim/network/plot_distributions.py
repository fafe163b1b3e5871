"""Panels of distributions: rates, intervals, their variation, and correlations of pairs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from spikesim.network.plot_panels import GREY, Real, Window, edges_of
from spikesim.network.population import Group
from spikesim.network.probe import SpikeProbe
from spikesim.network.statistics import correlation, cv_isi
from spikesim.network.statistics import rates as mean_rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATE, INTERVAL = "rate of a neuron (Hz)", "interval (ms)"
KINDS = (RATE, INTERVAL, "CV of intervals", "correlation")
PAIRED = 100
"""Neurons of a group whose pairs are correlated."""
BARS = 40
FEW = 3
"""Groups whose histograms are filled; more would hide each other."""


def distributions(
    panels: Sequence["Axes"], probes: Sequence[SpikeProbe], color: Mapping[Group, str]
) -> None:
    """A histogram of each kind for each group: the share of neurons, intervals or pairs."""
    from matplotlib.ticker import LogLocator

    samples = [_samples(probe) for probe in probes]
    longest = max(probe.duration for probe in probes)
    for number, (kind, axes) in enumerate(zip(KINDS, panels, strict=True)):
        values = np.concatenate([sample[number] for sample in samples])
        axes.set_xlabel(kind)
        axes.set_yticks([])
        if not values.size:
            axes.text(0.5, 0.5, "too few spikes", transform=axes.transAxes, ha="center")
            continue
        edges = _edges(kind, values, longest)
        if kind == INTERVAL:
            axes.set_xscale("log")
            decades = np.log10(edges[-1] / edges[0])
            named = (2, 3, 5) if decades < 1 else (2, 5) if decades < 1.7 else (1,)
            axes.xaxis.set_minor_locator(LogLocator(subs=named))
            for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
                which("{x:g}")
        for probe, sample in zip(probes, samples, strict=True):
            counts, _ = np.histogram(sample[number], edges)
            share, shade = counts / max(counts.sum(), 1), color[probe.group]
            axes.stairs(share, edges, color=shade)
            if len(probes) <= FEW:
                axes.stairs(share, edges, color=shade, fill=True, alpha=0.15)
        axes.set_ylim(bottom=0)
        axes.set_title(f"mean {values.mean():.3g}", color=GREY)
    panels[0].set_ylabel("share")


def _samples(probe: SpikeProbe) -> tuple[Real, ...]:
    """What is drawn of a group, in the order of ``KINDS``."""
    hz, cv = mean_rates(probe), cv_isi(probe)
    order = np.argsort(probe.senders, kind="stable")
    same = np.diff(probe.senders[order]) == 0
    intervals = np.diff(probe.times[order])[same]
    active = probe.neurons[hz > 0]
    chosen = active[:: -(-active.size // PAIRED) or 1]
    part = Window(probe, probe.first * probe.dt, probe.step * probe.dt, chosen)
    return hz, intervals, cv[np.isfinite(cv)], correlation(part)


def _edges(kind: str, values: Real, ms: float) -> Real:
    """Edges of the bars."""
    if kind == INTERVAL:  # they differ by orders of magnitude
        return np.geomspace(values.min(), max(values.max(), 2 * values.min()), BARS + 1)
    if kind == RATE:  # whole numbers of spikes: bars of as many each, or some would stay empty
        least = 1e3 / ms
        width = max(np.ceil(np.ptp(values) / BARS / least), 1.0) * least
        return np.arange(values.min() - least / 2, values.max() + width, width)
    return edges_of(values, BARS)
