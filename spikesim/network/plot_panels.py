"""Panels of a picture that share the axis of time; each leaves out what no eye could tell apart."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spikesim.network.export import unit_of
from spikesim.network.population import Group
from spikesim.network.probe import RateProbe, SpikeProbe, StateProbe
from spikesim.network.readout import ReadoutProbe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Real: TypeAlias = NDArray[np.floating[Any]]
Span: TypeAlias = tuple[float, float]
"""The first and last time of a picture, ms."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": "#374151",
    "axes.titlesize": 9,
    "xtick.color": "#374151",
    "ytick.color": "#374151",
}
GREY = "#6b7280"
MEAN = "#d1495b"
"""Of weights."""
BINS = 200
"""Of the rates."""
ROWS, POINTS = 200, 100_000
"""Neurons of a raster at least, where there are as many, and spikes at most."""
SHARE = 0.05
"""Of a raster's height that the smallest group has at least, for its name."""
LINES, COLUMNS = 5, 2_000
"""Neurons of a panel of states, and stretches of time of which least and largest are drawn."""
TIMES, SYNAPSES, BARS = 300, 100_000, 50
"""Histograms over time, synapses in each, and its bars, at most."""


@runtime_checkable
class Weights(Protocol):
    """A probe of a projection's weights."""

    @property
    def projection(self) -> Any:
        """Whose weights; it has a ``name``."""

    @property
    def times(self) -> NDArray[np.float64]:
        """When they were looked at, ms."""

    @property
    def values(self) -> NDArray[np.floating[Any]]:
        """``[times, synapses]``."""


class Window(SpikeProbe):
    """What a probe recorded after ``first`` and until ``last``, ms, of all or some neurons."""

    def __init__(
        self,
        probe: SpikeProbe,
        first: float,
        last: float,
        neurons: NDArray[np.int32] | None = None,
    ) -> None:
        begin = max(round(first / probe.dt), probe.first)
        chosen = probe.neurons if neurons is None else neurons
        super().__init__(probe.group, chosen, probe.dt, begin)
        self.neurons = chosen  # of all processes, if the probe was gathered
        self.step = max(min(round(last / probe.dt), probe.step), begin)
        part = slice(*np.searchsorted(probe.steps, (begin, self.step)))
        steps, senders = probe.steps[part], probe.senders[part]
        own = np.isin(senders, chosen) if neurons is not None else slice(None)
        self._steps, self._senders = [steps[own]], [senders[own]]


def raster(axes: "Axes", probes: Sequence[SpikeProbe], color: Mapping[Group, str]) -> None:
    """Spikes as points, a row per neuron, a band per probe; small groups get higher rows.

    Of too many spikes those of every k-th neuron are drawn, and where few neurons would be left
    every n-th spike; the title tells both.
    """
    neurons, spikes = sum(p.neurons.size for p in probes), sum(map(len, probes))
    every = int(np.clip(-(-spikes // POINTS), 1, max(neurons // ROWS, 1)))
    skip = max(-(-spikes // every // POINTS), 1)
    # Few points are seen on their own, many are no wider than the rows of a crowd.
    size = float(np.clip(200.0 * (1 + spikes / every / skip) ** -0.5, 0.8, 4.0))
    top, names = 0.0, {}
    for probe in probes:
        watched, shade = probe.neurons.size, color[probe.group]
        height = max(watched, SHARE * neurons)
        row = np.full(probe.group.size, np.nan)
        shown = np.arange(0, watched, every)
        row[probe.neurons[shown]] = top + (shown + 0.5) * (height / max(watched, 1))
        kept = np.flatnonzero(np.isfinite(row[probe.senders]))[::skip]
        (points,) = axes.plot(probe.times[kept], row[probe.senders[kept]], ".", color=shade)
        points.set(markersize=size, markeredgewidth=0, rasterized=True)
        names[top + height / 2] = (probe.group.name, shade)
        top += height
        axes.axhline(top, color="#e5e7eb", linewidth=0.6, zorder=0)
    axes.set_yticks(list(names), [name for name, _ in names.values()])
    for label, (_, shade) in zip(axes.get_yticklabels(), names.values(), strict=True):
        label.set_color(shade)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0, max(top, 1.0))
    shares = [f"1 in {every} neurons"] * (every > 1) + [f"1 in {skip} spikes"] * (skip > 1)
    axes.set_title(", ".join(shares), loc="right", color=GREY)


def rates(
    axes: "Axes", probes: Sequence[SpikeProbe | RateProbe], color: Mapping[Group, str], span: Span
) -> None:
    """Mean rate of each group in bins, Hz."""
    for probe in probes:
        edges, hz = _counted(probe) if isinstance(probe, SpikeProbe) else _averaged(probe, span)
        axes.stairs(hz, edges, baseline=None, color=color[probe.group], label=probe.group.name)
    axes.set_ylabel("rate (Hz)")
    axes.set_ylim(bottom=0)
    if not all(isinstance(probe, SpikeProbe) for probe in probes):
        axes.legend(loc="upper right", frameon=False)  # names that the raster does not tell


def traces(axes: "Axes", probe: StateProbe | ReadoutProbe, color: str, span: Span) -> None:
    """A state of some neurons, evenly chosen of those watched, or outputs of a readout."""
    watched = probe.values.shape[1]
    chosen = np.unique(np.linspace(0, watched - 1, min(watched, LINES)).round().astype(int))
    times, part = _inside(probe.times, span)
    times, values = outline(times, probe.values[part][:, chosen])
    for number, line in enumerate(values.T):
        # The first one stands out, so that one course can be followed.
        axes.plot(times, line, color=color, linewidth=0.9, alpha=0.9 if number == 0 else 0.35)
    if isinstance(probe, ReadoutProbe):
        name, what, lines = probe.readout.name, "value", "outputs"
    else:
        name, what, lines = probe.group.name, probe.state, "neurons"
        unit = unit_of(probe.group, probe.state)
        what += f" ({unit})" if unit else ""
    some = f"\n{chosen.size} of {watched} {lines}" if chosen.size < watched else ""
    axes.set_ylabel(f"{what}\n{name}{some}")


def weights(axes: "Axes", probe: Weights, span: Span) -> None:
    """Histograms of weights over time, and their mean as a line."""
    from matplotlib.colors import PowerNorm

    times, part = _inside(probe.times, span)
    every = max(-(-len(times) // TIMES), 1)
    skip = max(-(-probe.values.shape[1] // SYNAPSES), 1)
    times, values = times[::every], probe.values[part][::every, ::skip]
    some = f"\n1 in {skip} synapses" if skip > 1 else ""
    name = probe.projection.name.replace(" -> ", "\n→ ")
    axes.set_ylabel(f"weights\n{name}{some}")
    if len(times) < 2 or not values.size:
        return
    bars = edges_of(values, BARS)
    counts = np.array([np.histogram(row, bars)[0] for row in values])
    # The root shows what spreads beside what stays in one place; the histogram of a time lasts
    # until the next one.
    shades = PowerNorm(0.5)
    axes.pcolormesh(times, bars, counts[:-1].T, cmap="Purples", norm=shades, rasterized=True)
    axes.plot(times, values.mean(1), color=MEAN, linewidth=1.2)
    axes.set_title("mean", loc="right", color=MEAN)  # above: no shade hides it


def outline(times: Real, values: Real) -> tuple[Real, Real]:
    """Least and largest of each stretch of time, where there are many values: no peak is lost.

    >>> times, values = outline(np.arange(8000.0), np.arange(8000.0)[:, None] % 4)
    >>> times[:4].tolist(), values[:4, 0].tolist()
    ([0.0, 0.0, 4.0, 4.0], [0.0, 3.0, 0.0, 3.0])
    """
    length = len(times) // COLUMNS
    if length < 2:
        return times, values
    parts = len(times) // length
    stretches = values[: parts * length].reshape(parts, length, -1)
    both = np.stack([stretches.min(1), stretches.max(1)], 1).reshape(2 * parts, -1)
    return np.repeat(times[: parts * length : length], 2), both


def edges_of(values: Real, bars: int) -> Real:
    """Edges of a histogram of all values, which may all be equal."""
    low, high = float(values.min()), float(values.max())
    return np.linspace(low, high if high > low else low + 1.0, bars + 1)


def _inside(times: Real, span: Span) -> tuple[Real, slice]:
    """The times after the first and until the last of a span, and where they are."""
    part = slice(*np.searchsorted(times, span, "right"))
    return times[part], part


def _counted(probe: SpikeProbe) -> tuple[Real, Real]:
    """Edges of bins (ms), and the rate in each (Hz)."""
    width = max(-(-(probe.step - probe.first) // BINS), 1)
    edges = np.append(np.arange(probe.first, probe.step, width), probe.step)
    seconds = np.diff(edges) * probe.dt * 1e-3
    hz = np.diff(np.searchsorted(probe.steps, edges)) / (seconds * max(probe.neurons.size, 1))
    return edges * probe.dt, hz


def _averaged(probe: RateProbe, span: Span) -> tuple[Real, Real]:
    """The same from rates in smaller bins."""
    times, part = _inside(probe.times, span)
    joined = max(-(-len(times) // BINS), 1)
    bins = len(times) // joined
    hz = probe.values[part][: bins * joined].reshape(bins, joined).mean(1)
    start = times[0] - probe.every * probe.dt if bins else span[0]
    return start + np.arange(bins + 1) * (joined * probe.every * probe.dt), hz
