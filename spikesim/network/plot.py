"""A picture of a run: all that its probes recorded, one panel below the other."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from spikesim.errors import UserError
from spikesim.network.given import real
from spikesim.network.plot_distributions import KINDS, distributions
from spikesim.network.plot_panels import STYLE, Weights, Window, raster, rates, traces, weights
from spikesim.network.probe import Probe, RateProbe, SpikeProbe, StateProbe
from spikesim.network.readout import ReadoutProbe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spikesim.network.network import Network

WIDTH = 9.0
RASTER, LINES, STATES, DISTRIBUTIONS = 3.6, 1.4, 1.1, 1.8
"""Heights of the panels, inches."""
COLORS = ("#2b6cb0", "#d1495b", "#3d9970", "#e09f3e", "#7a5195", "#17a2b8", "#8d5b4c", "#6b7280")


def plot(network: "Network", first: float, last: float) -> "Figure":
    """The picture of :meth:`Network.plot`."""
    begin, end = max(real("first", first), 0.0), min(real("last", last), network.time)
    if network.probes and not begin < end:
        raise UserError(f"nothing to plot between {first} and {last} ms, now is {network.time} ms")
    return picture([probe.gather() for probe in network.probes], begin, end)


def picture(probes: Sequence[Probe | Weights], first: float, last: float) -> "Figure":
    """A picture of some probes between two times.

    A raster with the rates of groups below, also of those whose rate alone was recorded; a panel
    for each state, each readout and the weights of each projection; and the distributions of rates,
    intervals, their variation, and correlations. A panel that leaves something out says so.

    Args:
        probes: those of a network, or some of them.
        first, last: what to show, ms.

    Raises:
        UserError: there is no probe, or no time between ``first`` and ``last``.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not probes:
        raise UserError("nothing to plot: add net.probe(population, 'spikes') before the run")
    if not first < last:
        raise UserError(f"nothing to plot between {first} and {last} ms")
    spikes = [Window(probe, first, last) for probe in probes if isinstance(probe, SpikeProbe)]
    watched = {probe.group for probe in spikes}
    means = [p for p in probes if isinstance(p, RateProbe) and p.group not in watched]
    states = [probe for probe in probes if isinstance(probe, StateProbe | ReadoutProbe)]
    known = SpikeProbe | RateProbe | StateProbe
    plastic = [p for p in probes if isinstance(p, Weights) and not isinstance(p, known)]
    groups = dict.fromkeys(probe.group for probe in (*spikes, *means, *states))
    color = {group: COLORS[i % len(COLORS)] for i, group in enumerate(groups)}
    span = (first, last)

    panels: list[tuple[float, Callable[[Axes], None]]] = []
    if spikes:
        panels.append((RASTER, partial(raster, probes=spikes, color=color)))
    if spikes or means:
        panels.append((LINES, partial(rates, probes=[*spikes, *means], color=color, span=span)))
    panels += [(STATES, partial(traces, probe=p, color=color[p.group], span=span)) for p in states]
    panels += [(LINES, partial(weights, probe=p, span=span)) for p in plastic]
    lasting = [probe for probe in spikes if probe.duration]
    heights = [height for height, _ in panels] + [DISTRIBUTIONS] * bool(lasting)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.4 + sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(heights), len(KINDS), height_ratios=heights)
        shared: Axes | None = None
        for row, (_, draw) in enumerate(panels):
            axes = figure.add_subplot(grid[row, :], sharex=shared)
            shared = shared or axes
            draw(axes)
            axes.set_xlim(first, last)
            axes.tick_params(labelbottom=row == len(panels) - 1)
        axes.set_xlabel("time (ms)")
        if lasting:
            below = [figure.add_subplot(grid[-1, column]) for column in range(len(KINDS))]
            distributions(below, lasting, color)
    return figure
