"""The report's pictures: matplotlib figures as inline SVG whose colours follow the page.

Figures are drawn in the stand-in colours below; in the SVG text these become CSS variables, so
that one picture serves a light and a dark page. No pyplot: nothing global is touched.
"""

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikesim.probe import LayerRecord, Recording

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, SECOND = (f"#0{i}0{i}0{i}" for i in range(1, 6))
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", SECOND: "second"}
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "figure.constrained_layout.w_pad": 0.01,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
MAX_NUMBERED = 20
"""Classes up to which the confusion matrix shows numbers and names."""


@contextmanager
def _figure(width: float, height: float) -> Iterator["Figure"]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: "Figure", label: str) -> str:
    """The figure as an ``<svg>`` element: no header, no metadata, page colours."""
    import matplotlib

    buffer = io.StringIO()
    # The salt keeps the identifiers of several pictures on one page apart.
    style: Any = {**STYLE, "svg.hashsalt": label}
    with matplotlib.rc_context(style):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the same in every picture, and not referred to
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, f"var(--{variable})")
    label = html.escape(label)
    text = re.sub(r"font: ([\w ]*?)([\d.]+)px [^;\"]*", r"font: \1\2px var(--sans)", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def curves(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Loss, accuracy and learning rate over the epochs; one picture each."""
    parts = {
        "": ("training", ACCENT),
        "validation_": ("validation", SECOND),
        "test_": ("test", INK),
    }
    epochs = [row["epoch"] for row in metrics]
    svgs = []
    for key, title in (("loss", "loss"), ("accuracy", "accuracy"), ("lr", "learning rate")):
        with _figure(3.4, 2.4) as figure:
            axes = figure.subplots()
            for prefix, (name, color) in parts.items():
                values = [_number(row.get(prefix + key)) for row in metrics]
                if not np.isnan(values).all():
                    dot = "o" if len(values) < 2 else None
                    axes.plot(epochs, values, color=color, label=name, marker=dot)
            axes.set(title=title, xlabel="epoch")
            _whole_numbers(axes)
            if key == "accuracy":
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            if key == "lr":
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axes.set_ylim(bottom=0)
            elif len(axes.lines) > 1:
                axes.legend()
            svgs.append(to_svg(figure, f"{title} by epoch"))
    return svgs


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """True class by row, answer by column; shade is the share of the row."""
    from matplotlib.patches import Rectangle

    size = len(counts)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    numbered = size <= MAX_NUMBERED
    side = min(6.4, 1.6 + 0.34 * size) if numbered else 6.4
    with _figure(side, side) as figure:
        axes = figure.subplots()
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = ACCENT if row == column else SECOND
            strength = 0.12 + 0.78 * share[row, column]
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=color, alpha=strength, lw=0))
            if numbered:
                axes.text(column, row, str(counts[row, column]), ha="center", va="center")
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
        axes.set(xlabel="answer", ylabel="true class")
        axes.grid(visible=False)
        if numbered:
            names = [name if len(name) <= 14 else f"{name[:13]}…" for name in classes]
            tilt = 0 if max(map(len, names), default=0) <= 3 else 60
            axes.set_xticks(range(size), names, rotation=tilt, ha="right" if tilt else "center")
            axes.set_yticks(range(size), names)
        return to_svg(figure, "confusion matrix")


def raster(recording: Recording, most: int = 6) -> list[str]:
    """Spikes of some neurons of up to ``most`` layers, spread over the depth; one picture each."""
    svgs = []
    for name, layer in spread(list(recording.layers.items()), most):
        steps, number = layer.raster.shape
        times = [np.flatnonzero(layer.raster[:, n].numpy()) for n in range(number)]
        with _figure(3.4, 2.3) as figure:
            axes = figure.subplots()
            axes.eventplot(
                times, colors=ACCENT, linelengths=0.8, linewidths=float(np.clip(80 / steps, 1, 8))
            )
            axes.set(xlim=(-0.6, steps - 0.4), ylim=(-1, number), yticks=[], xlabel="step")
            axes.set_ylabel(f"{number} of {int(np.prod(layer.shape)):,} neurons")
            axes.set_title(shortened(name, 36))
            _whole_numbers(axes)
            axes.grid(visible=False)
            svgs.append(to_svg(figure, f"spikes of {name}"))
    return svgs


def traces(recording: Recording, most: int = 4) -> list[str]:
    """Membrane of the traced neurons of up to ``most`` layers; one picture each."""
    layers = [(name, layer) for name, layer in recording.layers.items() if layer.traces]
    svgs = []
    for name, layer in spread(layers, most):
        with _figure(4.8, 2.3) as figure:
            _trace(figure.subplots(), name, layer)
            svgs.append(to_svg(figure, f"membrane in {name}"))
    return svgs


def _trace(axes: "Axes", name: str, layer: LayerRecord) -> None:
    variable = "v" if "v" in layer.traces else next(iter(layer.traces))
    values, output = layer.traces[variable].numpy(), layer.traces["output"].numpy()
    steps = np.arange(len(values))
    top = float(values.max(initial=0.0))
    if layer.threshold is not None:
        top = max(top, float(layer.threshold.max()))
        for level in set(layer.threshold.tolist()):
            axes.axhline(level, color=MUTED, lw=1, ls=(0, (4, 3)))
        # Beside the axes: within them it would lie on the spikes of the last step.
        place: Any = {"transform": axes.get_yaxis_transform(), "ha": "left", "va": "center"}
        axes.text(1.01, float(layer.threshold[0]), "threshold", fontsize=7, color=MUTED, **place)
    low = min(0.0, float(values.min(initial=0.0)))
    height = max(top - low, 1e-3)
    for n, color in zip(range(values.shape[1]), (ACCENT, SECOND, MUTED), strict=False):
        index = int(layer.traced[n])
        axes.plot(steps, values[:, n], color=color, marker="o", ms=2.5, label=f"neuron {index}")
        if layer.threshold is not None:
            fired = np.flatnonzero(output[:, n])
            level = top + (0.16 + 0.14 * n) * height
            axes.plot(fired, np.full(len(fired), level), "|", color=color, ms=7, mew=1.8)
    axes.set(title=shortened(name, 50), xlabel="step", ylabel=variable)
    axes.set_ylim(low - 0.08 * height, top + 0.75 * height)
    axes.legend(loc="upper right", ncols=3, borderaxespad=0, handlelength=1.2)
    _whole_numbers(axes)


def spread(items: list[Any], most: int) -> list[Any]:
    """Up to ``most`` items, evenly over the list, its ends included.

    >>> spread(list("abcdefg"), 3)
    ['a', 'd', 'g']
    """
    if len(items) <= most:
        return items
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def shortened(name: str, most: int) -> str:
    """A long name by its end."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
