"""Pictures of an energy estimate, from an :meth:`~spikesim.energy.EnergyReport.to_dict`.

Each ``draw_*`` fills axes; :func:`pictures` gives them as SVG for a page, :func:`save` as files.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from spikesim.energy.units import joule
from spikesim.report.pictures import ACCENT, INK, LINE, MUTED, SECOND, STYLE, shortened, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Energy: TypeAlias = Mapping[str, Any]


class Colors(NamedTuple):
    """Of a picture's parts."""

    ink: str
    muted: str
    line: str
    accent: str
    second: str


PAGE = Colors(INK, MUTED, LINE, ACCENT, SECOND)
"""Stand-ins, which become those of the page."""
PAPER = Colors("#1c1e21", "#5b6470", "#d5d9de", "#2463c4", "#cf6a1b")
"""Of a file."""

PARTS = {
    "compute": "#3b7dd8",
    "neurons": "#7f8c99",
    "weights": "#d9822b",
    "activations": "#e0b13c",
    "state": "#4a9d6e",
    "addressing": "#9467bd",
    "routing": "#c25b85",
    "learning": "#3aa3a8",
    "idle": "#a9835b",
}
"""Colours of the parts of an energy, readable on a light and a dark page."""

MOST_LAYERS = 20
MOST_CONSTANTS = 8


@dataclass(frozen=True)
class Picture:
    """Something to draw.

    Attributes:
        name: of a file, without ending.
        label: what it shows.
        size: inches.
        draw: fills axes.
    """

    name: str
    label: str
    size: tuple[float, float]
    draw: Callable[["Axes", Colors], None]


def of_energy(energy: Energy) -> Iterator[Picture]:
    """Layers by parts, the rate at which spikes stop to pay, what decides.

    Each for all models in turn, so that models, of equal height, lie side by side on a page.
    """
    charges = energy["models"].items()
    for model, _ in charges:
        layers = _layers(energy, model)
        if layers:
            size = (4.6, 1.3 + 0.16 * len(layers))
            label = f"energy by layer, {model}"
            yield Picture(f"layers-{model}", label, size, _drawer(draw_layers, energy, model))
    for model, charge in charges:
        label = f"energy by firing rate, {model}"
        yield Picture(f"crossover-{model}", label, (4.6, 2.8), _drawer(draw_crossover, charge))
    for model, charge in charges:
        if _deciding(charge):
            label = f"what decides, {model}"
            size = (4.6, 1.0 + 0.28 * len(_deciding(charge)))
            yield Picture(f"sensitivity-{model}", label, size, _drawer(draw_sensitivity, charge))


def of_runs(runs: Sequence[Mapping[str, Any]], model: str) -> Picture:
    """Accuracy against energy, a point for each run."""
    label = f"accuracy and energy of runs, {model}"
    return Picture(f"pareto-{model}", label, (4.6, 3.0), _drawer(draw_pareto, runs, model))


def svgs(pictures: Sequence[Picture]) -> list[str]:
    """For a page, in its colours."""
    import matplotlib
    from matplotlib.figure import Figure

    drawn = []
    for picture in pictures:
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=picture.size, layout="constrained")
            axes = figure.subplots()
            picture.draw(axes, PAGE)
            axes.set_title(picture.label)
            drawn.append(to_svg(figure, picture.label))
    return drawn


def save(pictures: Sequence[Picture], folder: Path, ending: str = "png") -> list[Path]:
    """As files in a folder, which is made if it is missing."""
    import matplotlib
    from matplotlib.figure import Figure

    from spikesim.files import write_atomic

    folder.mkdir(parents=True, exist_ok=True)
    paper = dict(zip(PAGE, PAPER, strict=True))
    style: Any = {
        key: paper.get(value, value) if isinstance(value, str) else value
        for key, value in STYLE.items()
    }
    style["figure.facecolor"] = "white"
    paths = []
    for picture in pictures:
        with matplotlib.rc_context(style):
            figure = Figure(figsize=picture.size, layout="constrained")
            axes = figure.subplots()
            picture.draw(axes, PAPER)
            axes.set_title(picture.label)
            image = io.BytesIO()
            figure.savefig(image, format=ending, dpi=160)
        path = folder / f"{picture.name}.{ending}"
        write_atomic(path, image.getvalue())
        paths.append(path)
    return paths


def draw_layers(axes: "Axes", colors: Colors, energy: Energy, model: str) -> None:
    """A bar for each layer, cut into what the energy is spent on."""
    layers = _layers(energy, model)
    places = np.arange(len(layers))
    left = np.zeros(len(layers))
    for part, color in PARTS.items():
        widths = np.array([parts.get(part, 0.0) for _, parts in layers])
        if widths.any():
            axes.barh(places, widths, 0.72, left, color=color, label=part)
            left += widths
    axes.set_yticks(places, [shortened(name, 34) for name, _ in layers])
    axes.set(ylim=(len(layers) - 0.4, -0.6), xlim=(0.0, 1.04 * left.max()))
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda value, _: joule(value))
    axes.legend(loc="lower right", fontsize=7)
    _few_ticks(axes)


def draw_crossover(axes: "Axes", colors: Colors, charge: Energy) -> None:
    """Energy by firing rate: the spiking network's line, the baselines' levels, where it stands."""
    wheres = {name: one["crossover"] for name, one in charge["baselines"].items()}
    where = next(iter(wheres.values()))
    present = where["present_rate"]
    unit = present or 1.0  # x is a rate, or a factor where there is none
    crossings = [one["factor"] for one in wheres.values() if one["verdict"] == "below"]
    end = 1.15 * max([2.0, *(factor for factor in crossings if factor < 20.0)])
    if present:
        end = min(end, 1.0 / present)
    factors = np.array([0.0, end])
    spiking = where["fixed"] + factors * where["scaled"]
    axes.plot(factors * unit, spiking, color=colors.accent, label="spiking")
    axes.plot([unit], [charge["joules"]], "o", color=colors.accent, ms=6, label="as it fires now")
    dashes = ("solid", (0, (5, 2)), (0, (1, 1.5)))
    for (name, one), dash in zip(charge["baselines"].items(), dashes, strict=False):
        axes.axhline(one["joules"], color=colors.second, ls=dash, lw=1.3, label=name)
    axes.set_xlim(0.0, end * unit)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("mean firing rate" if present else "firing rate, times now")
    if present:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.yaxis.set_major_formatter(lambda value, _: joule(value))
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_sensitivity(axes: "Axes", colors: Colors, charge: Energy) -> None:
    """The total with each constant at the ends of its range, the widest bar on top."""
    bars = _deciding(charge)
    for place, bar in enumerate(bars):
        low, high = bar["joules"]
        total = charge["joules"]
        axes.barh(place, total - low, 0.62, low, color=colors.accent)
        axes.barh(place, high - total, 0.62, total, color=colors.second)
    names = [
        f"{bar['constant']}\n{bar['range'][0]:g} to {bar['range'][1]:g} {bar['unit']}"
        for bar in bars
    ]
    axes.set_yticks(range(len(bars)), names, fontsize=7)
    axes.axvline(charge["joules"], color=colors.ink, lw=1)
    axes.set(ylim=(len(bars) - 0.4, -0.6))
    ends = [end for bar in bars for end in bar["joules"]]
    if min(ends) > 0.0 and max(ends) > 20.0 * min(ends):
        axes.set_xscale("log")
        axes.minorticks_off()
    else:
        _few_ticks(axes)
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda value, _: joule(value))


def draw_pareto(
    axes: "Axes", colors: Colors, runs: Sequence[Mapping[str, Any]], model: str
) -> None:
    """A point for each run with its intervals; a step through those that none is better than."""
    spent = [run["energy"]["models"][model]["joules"] for run in runs]
    right = [run["accuracy"] for run in runs]
    for run, x, y in zip(runs, spent, right, strict=True):
        low, high = run["interval"]
        axes.plot([x, x], [low, high], color=colors.line, lw=1.2, zorder=1)
        axes.plot(x, y, "o", color=colors.accent, ms=5, zorder=3)
        axes.annotate(
            shortened(run["name"], 24), (x, y), (5, 4), textcoords="offset points", fontsize=7
        )
    best = front(spent, right)
    axes.plot(
        [spent[n] for n in best],
        [right[n] for n in best],
        color=colors.second,
        drawstyle="steps-post",
        lw=1.2,
        zorder=2,
    )
    axes.set_xlabel("energy of a recording")
    axes.set_ylabel("accuracy")
    axes.margins(x=0.25)
    axes.xaxis.set_major_formatter(lambda value, _: joule(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    _few_ticks(axes)


def front(spent: Sequence[float], right: Sequence[float]) -> list[int]:
    """Points that are more accurate than all cheaper ones, the cheapest first.

    >>> front([3.0, 1.0, 2.0], [0.9, 0.5, 0.4])
    [1, 0]
    """
    best: list[int] = []
    for n in sorted(range(len(spent)), key=lambda n: (spent[n], -right[n])):
        if not best or right[n] > right[best[-1]]:
            best.append(n)
    return best


def _layers(energy: Energy, model: str) -> list[tuple[str, Mapping[str, float]]]:
    """Layers that cost something in their order; the cheapest as one where there are many."""
    spent = [(one["name"], one["parts"][model]) for one in energy.get("layers", ())]
    spent = [(name, parts) for name, parts in spent if any(parts.values())]
    if len(spent) <= MOST_LAYERS:
        return spent
    order = sorted(range(len(spent)), key=lambda n: -sum(spent[n][1].values()))
    kept, rest = set(order[: MOST_LAYERS - 1]), order[MOST_LAYERS - 1 :]
    others = {part: sum(spent[n][1].get(part, 0.0) for n in rest) for part in PARTS}
    return [spent[n] for n in sorted(kept)] + [(f"{len(rest)} others", others)]


def _deciding(charge: Energy) -> list[Energy]:
    """Constants that have a range, as many as are drawn."""
    bars: list[Energy] = charge["sensitivity"]
    return [bar for bar in bars if bar["joules"][1] > bar["joules"][0]][:MOST_CONSTANTS]


def _drawer(draw: Callable[..., None], *arguments: Any) -> Callable[["Axes", Colors], None]:
    return lambda axes, colors: draw(axes, colors, *arguments)


def _few_ticks(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5))
