"""Pictures of runs: what each panel holds, of few neurons and of a hundred thousand."""

import io
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from spikesim.errors import UserError
from spikesim.network import Network, SpikeProbe, correlation, cv_isi, rates
from spikesim.network.plot import picture
from spikesim.network.plot_distributions import BARS, INTERVAL, KINDS
from spikesim.network.plot_panels import LINES, POINTS, TIMES, Window
from spikesim.neurons import LIFExp


def given(times: Any, senders: Any, size: int, ms: float, **options: Any) -> SpikeProbe:
    net = Network(dt=0.5)
    probe = net.probe(net.spikes(times, senders, size, name="given"), "spikes", **options)
    net.run(ms)
    return probe


def poisson(neurons: int, spikes: int, ms: float, **options: Any) -> SpikeProbe:
    random = np.random.default_rng(0)
    times, senders = random.uniform(0, ms, spikes), random.integers(0, neurons, spikes)
    return given(times, senders, neurons, ms, **options)


def watched(times: np.ndarray, values: np.ndarray) -> SimpleNamespace:
    """What a probe of weights has."""
    return SimpleNamespace(projection=SimpleNamespace(name="a -> b"), times=times, values=values)


def driven() -> Network:
    net = Network(dt=0.5, seed=1)
    for name, size in (("many", 200), ("few", 4)):
        cells = net.population(LIFExp(t_ref=2.0), size, name=name)
        net.poisson(cells, rate=4_000.0, weight=100.0)
        net.probe(cells, "spikes")
    return net


def drawn(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("L")


def ink(figure: Figure) -> float:
    """Share of pixels that are not white."""
    return float((np.asarray(drawn(figure)) < 200).mean())


def test_all_that_was_recorded_has_its_panel() -> None:
    net = driven()
    many, few = net.groups
    net.probe(many, "v", neurons=np.arange(20))
    net.probe(few, "i_ex")
    net.probe(many, "rate")
    net.run(500.0)
    times = np.arange(1.0, 501.0)
    weights = watched(times, np.outer(times, np.linspace(0, 1, 7)))
    figure = picture([*net.probes, weights], 0.0, 500.0)
    labels = [axes.get_ylabel() or axes.get_xlabel() for axes in figure.axes]
    assert labels[1:] == [
        "rate (Hz)",
        f"v (mV)\nmany\n{LINES} of 20 neurons",
        "i_ex\nfew",
        "weights\na\n→ b",
        "share",
        *KINDS[1:],
    ]
    raster = figure.axes[0]
    assert [label.get_text() for label in raster.get_yticklabels()] == ["many", "few"]
    assert all(axes.get_xlim() == (0.0, 500.0) for axes in figure.axes[:5])
    assert 0.01 < ink(figure) < 0.9
    # A group has one color in all panels.
    shades = [line.get_color() for line in raster.lines if line.get_marker() == "."]
    assert [figure.axes[2].lines[0].get_color(), figure.axes[3].lines[0].get_color()] == shades


def test_points_are_the_spikes_of_the_time_shown() -> None:
    probe = given([10.0, 20.0, 20.5, 30.0, 40.0], [0, 1, 2, 1, 0], 3, 50.0)
    axes = picture([probe], 10.0, 30.0).axes[0]
    (points,) = [line for line in axes.lines if line.get_marker() == "."]
    assert points.get_xdata().tolist() == [20.0, 20.5, 30.0]
    assert points.get_ydata().tolist() == [1.5, 2.5, 1.5]


def test_rates_are_spikes_over_time_and_neurons() -> None:
    times = np.concatenate([np.arange(0.5, 100.5, 0.5), [150.0]])
    probe = given(times, np.zeros(len(times), int), 4, 200.0)
    (steps,) = picture([probe], 0.0, 200.0).axes[1].patches
    hz, edges, _ = steps.get_data()
    np.testing.assert_allclose(hz[:100], 500.0)  # 2,000 Hz of one in four
    assert edges[[0, -1]].tolist() == [0.0, 200.0]
    assert (hz * np.diff(edges)).sum() * 4e-3 == pytest.approx(201)


def test_a_probe_of_rates_is_drawn_where_there_are_no_spikes() -> None:
    net = Network(dt=0.5)
    groups = [net.spikes(np.arange(10.0, 990.0, 10.0), np.zeros(98, int), 2) for _ in range(2)]
    net.probe(groups[0], "rate", every=2.0)
    net.run(1000.0)
    (axes,) = picture(net.probes, 100.0, 900.0).axes
    hz, edges, _ = axes.patches[0].get_data()
    assert (hz.mean(), edges[0], edges[-1]) == (pytest.approx(50.0), 100.0, 900.0)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["spikes"]


def test_distributions_are_those_of_the_statistics() -> None:
    probe = poisson(50, 2_000, 1000.0)
    panels = dict(zip(KINDS, picture([probe], 0.0, 1000.0).axes[-4:], strict=True))
    order = np.lexsort((probe.times, probe.senders))
    gaps = np.diff(probe.times[order])[np.diff(probe.senders[order]) == 0]
    samples = (rates(probe), gaps, cv_isi(probe), correlation(probe))
    for (kind, axes), sample in zip(panels.items(), samples, strict=True):
        outline = axes.patches[0].get_data()
        counts, _ = np.histogram(sample, outline.edges)
        np.testing.assert_allclose(outline.values, counts / len(sample), err_msg=kind)
        assert counts.sum() == len(sample)
        assert len(counts) <= BARS + 1
        assert axes.get_title() == f"mean {sample.mean():.3g}"


@pytest.mark.parametrize("span", [1.1, 1.5, 3.0, 8.0, 20.0, 40.0, 49.0, 90.0, 3_000.0])
def test_intervals_are_named_apart(span: float) -> None:
    gaps = np.random.default_rng(0).permutation(np.geomspace(14.0, 14.0 * span, 60))
    times = np.round(gaps.cumsum() * 2) / 2
    figure = picture([given(times, np.zeros(60, int), 1, times[-1])], 0.0, times[-1]).axes[0].figure
    drawn(figure)
    (axes,) = (panel for panel in figure.axes if panel.get_xlabel() == INTERVAL)
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    more = zip(axes.get_xticks(minor=True), axes.get_xticklabels(minor=True), strict=True)
    low, high = axes.get_xlim()
    shown = [text for x, text in (*ticks, *more) if low <= x <= high and text.get_text()]
    boxes = sorted(tuple(text.get_window_extent().intervalx) for text in shown)
    assert all(left[1] < right[0] for left, right in pairwise(boxes)), [t.get_text() for t in shown]
    assert len(shown) >= 1


def test_a_hundred_thousand_neurons_are_thinned_and_it_is_said() -> None:
    probe = poisson(100_000, 1_000_000, 1000.0)
    figure = picture([probe], 0.0, 1000.0)
    axes = figure.axes[0]
    (points,) = [line for line in axes.lines if line.get_marker() == "."]
    assert axes.get_title(loc="right") == "1 in 10 neurons"
    # Whole trains of some neurons, not some spikes of all.
    assert set(np.floor(points.get_ydata()) % 10) == {0.0}
    wanted = np.isin(probe.senders, np.arange(0, 100_000, 10)).sum()
    assert len(points.get_xdata()) == wanted < 1.1 * POINTS
    assert 0.05 < ink(figure) < 0.9


def test_many_spikes_of_few_neurons_are_thinned_and_it_is_said() -> None:
    random = np.random.default_rng(0)
    steps, senders = np.nonzero(random.random((40_000, 10)) < 0.75)
    axes = picture([given((steps + 1) * 0.5, senders, 10, 20_000.0)], 0.0, 20_000.0).axes[0]
    assert axes.get_title(loc="right") == "1 in 3 spikes"


def test_a_small_group_has_room_for_its_name() -> None:
    net = Network(dt=0.5)
    sizes = (1000, 1, 3000)
    probes = [net.probe(net.spikes([1.0], [0], n, name=str(n)), "spikes") for n in sizes]
    net.run(5.0)
    axes = picture(probes, 0.0, 5.0).axes[0]
    edges = [0.0, *(line.get_ydata()[0] for line in axes.lines if line.get_marker() != ".")]
    assert np.diff(edges).tolist() == pytest.approx([1000.0, 0.05 * 4001, 3000.0])


def test_traces_keep_their_peaks() -> None:
    net = Network(dt=0.1)
    cells = net.population(LIFExp(), 1)
    net.spikes([0.1], [0], 1)
    net.current(cells, lambda t: 9_000.0 * (t == 1_234.0), every=1.0, largest=9_000.0)
    probe = net.probe(cells, "v")
    net.run(3000.0)
    (line,) = picture([probe], 0.0, 3000.0).axes[0].lines
    assert len(line.get_xdata()) < 5_000
    assert line.get_ydata().max() == probe.values.max()
    assert 1233 < line.get_xdata()[line.get_ydata().argmax()] < 1236


def test_weights_are_histograms_over_time() -> None:
    times = np.arange(10.0, 10_010.0, 10.0)
    values = np.where(np.arange(200) % 4 == 0, 1.0, 0.0) + 0.5 * (times > 5000.0)[:, None]
    axes = picture([watched(times, values)], 0.0, 10_000.0).axes[0]
    (mesh,) = axes.collections
    counts = mesh.get_array()  # [bars, times]
    assert counts.shape[1] <= TIMES
    assert (counts.sum(0) == 200).all()
    low, high = counts[:, 0], counts[:, -1]
    assert (low[0], low.max(), high[-1]) == (150, 150, 50)
    assert axes.lines[0].get_ydata()[[0, -1]].tolist() == [0.25, 0.75]
    # Told above the panel: within it shades would hide the word.
    assert (axes.get_title(loc="right"), axes.get_legend()) == ("mean", None)


@pytest.mark.parametrize("shape", [(0, 5), (1, 5), (5, 0), (3, 200_000)])
def test_weights_of_any_number_are_drawn(shape: tuple[int, int]) -> None:
    weights = watched(np.arange(1.0, shape[0] + 1), np.ones(shape))
    (axes,) = picture([weights], 0.0, 10.0).axes
    assert axes.get_ylabel().endswith("1 in 2 synapses" if shape[1] > 5 else "b")
    drawn(axes.figure)


@pytest.mark.parametrize(
    ("make", "panels"),
    [
        (lambda: given([], [], 3, 10.0), 6),
        (lambda: given([1.0], [0], 3, 10.0), 6),
        (lambda: given([1.0, 5.0], [0, 0], 3, 10.0, neurons=[]), 6),
        (lambda: given([], [], 3, 0.0), 2),
    ],
)
def test_next_to_nothing_is_still_a_picture(make: Callable[[], SpikeProbe], panels: int) -> None:
    figure = picture([make()], 0.0, 10.0)
    drawn(figure)
    assert len(figure.axes) == panels
    for axes in figure.axes[3:]:
        assert [text.get_text() for text in axes.texts] == ["too few spikes"]


def test_a_window_holds_what_lies_in_it() -> None:
    net = Network(dt=0.5)
    net.spikes([1.0], [0], 1)
    group = net.spikes([10.0, 20.0, 20.5, 30.0], [0, 1, 2, 1], 3, name="given")
    net.run(15.0)
    probe = net.probe(group, "spikes")
    net.run(35.0)
    part = Window(probe, 0.0, 20.0)
    assert (part.times.tolist(), part.duration, len(part)) == ([20.0], 5.0, 1)
    assert Window(probe, 20.0, 90.0).duration == 30.0
    some = Window(probe, 0.0, 50.0, np.array([1], np.int32))
    assert (some.times.tolist(), some.neurons.tolist()) == ([20.0, 30.0], [1])


def test_nothing_to_plot_is_refused() -> None:
    with pytest.raises(UserError, match=r"add net\.probe"):
        picture([], 0.0, 1.0)
    with pytest.raises(UserError, match=r"between 5\.0 and 5\.0 ms"):
        picture([given([1.0], [0], 1, 5.0)], 5.0, 5.0)
