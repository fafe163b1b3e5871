"""Receptive fields: who is connected, and what neurons become that see images."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.datasets.readers.idx import read_idx
from spikesim.network.population import Population
from spikesim.network.recipes import diehl_cook
from spikesim.network.recipes.diehl_cook import TOTAL, Learned, normalise

EXAMPLE = Path(__file__).parents[2] / "examples" / "stdp_receptive_fields.py"
Array = NDArray[np.uint8]
Data = tuple[Array, Array, Array, Array]
"""Images and labels to learn from, and to be tested with."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stdp_receptive_fields", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_neuron_has_an_inhibitory_one_that_reaches_all_others() -> None:
    net = diehl_cook(scale=0.2, seed=1)
    sizes = {group.name: group.size for group in net.groups}
    assert sizes == {"input": 784, "excitatory": 20, "inhibitory": 20}
    fields, to_own, to_others = (p.table() for p in net.projections)
    assert len(fields["pre"]) == 784 * 20
    assert (to_own["pre"] == to_own["post"]).all()
    assert len(to_others["pre"]) == 20 * 19
    assert (to_others["pre"] != to_others["post"]).all()


def test_a_spike_stops_all_other_neurons() -> None:
    net = diehl_cook(scale=0.2, seed=1, rate=0.0)
    excitatory, inhibitory = (g for g in net.groups[1:] if isinstance(g, Population))
    excitatory.state["v"][3] = 0.0
    probes = [net.probe(group, "spikes") for group in (excitatory, inhibitory)]
    net.run(6.0)
    assert [probe.senders.tolist() for probe in probes] == [[3], [3]]
    assert probes[1].times[0] - probes[0].times[0] <= 2.0
    others = np.arange(20) != 3
    # 17 nS that decay in 2 ms, on 100 pF, from -65 towards -100 mV; the leak brings some back.
    low = -100.0 + 35.0 * np.exp(-17.0 * 2.0 / 100.0)
    np.testing.assert_allclose(excitatory.state["v"][others], low, atol=2.0)
    assert excitatory.state["v"][3] == pytest.approx(-65.0, abs=0.1)
    rises = excitatory.state["theta"] - 20.0
    np.testing.assert_allclose(rises, np.where(others, 0.0, 0.05), atol=3e-5)  # they fall again


def test_what_was_learned_stays(example: ModuleType) -> None:
    image = np.full((28, 28), 64, np.uint8)
    learner = example.Layer(20, seed=2)
    for _ in range(2):
        learner.show(image)
    normalise(learner.fields)
    sums = learner.fields.weights().reshape(784, 20).sum(0)
    np.testing.assert_allclose(sums, TOTAL, rtol=1e-12)
    learned = learner.learned()
    assert learned.theta.max() > learned.theta.min() + 0.04  # rises of 0.05 mV, few of them
    fixed = example.Layer(20, seed=2, learned=learned)
    assert not fixed.fields.is_plastic
    assert fixed.show(image).sum() >= 5
    np.testing.assert_allclose(fixed.learned().weights, learned.weights, atol=1e-15)
    assert (fixed.neurons.state["theta"] == 0.0).all()
    threshold = fixed.neurons.parameters["v_threshold"]
    np.testing.assert_allclose(threshold, -72.0 + learned.theta)


def bars(seed: int, count: int) -> tuple[Array, Array]:
    """Upright bars in one of four places, which move by a pixel."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    images = np.zeros((count, 28, 28), np.uint8)
    for image, label, off in zip(images, labels, random.integers(-1, 2, count), strict=True):
        image[4:24, 4 + 5 * label + off : 8 + 5 * label + off] = 255
    return images, labels


def mnist(root: Path) -> Data:
    parts = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    x, y, x_test, y_test = (read_idx(root / "mnist" / f"{part}-ubyte.gz") for part in parts)
    return x, y, x_test, y_test


def likeness(weights: NDArray[np.float64], assigned: NDArray[np.int64], data: Data) -> float:
    """How much more fields correlate with the mean image of their label than with others."""
    x, y = data[0].reshape(len(data[0]), -1).astype(float), data[1]
    mean = np.stack([x[y == label].mean(0) for label in range(y.max() + 1)])
    found = np.corrcoef(np.concatenate([mean, weights.T]))[: len(mean), len(mean) :]
    return float(found[assigned, np.arange(found.shape[1])].mean() - found.mean())


def untaught(example: ModuleType, data: Data, size: int, shown: int) -> tuple[float, float]:
    """Accuracy and likeness of neurons that were labelled without having learned."""
    x, y, x_test, y_test = data
    fresh = example.Layer(size, seed=0)
    normalise(fresh.fields)
    learned: Learned = fresh.learned()
    fixed = example.Layer(size, seed=0, learned=learned)
    labelled = example.means(np.stack([fixed.show(i) for i in x[:shown]]), y[:shown]).argmax(0)
    answers = example.told(np.stack([fixed.show(i) for i in x_test[:shown]]), labelled)
    return float(np.mean(answers == y_test[:shown])), likeness(learned.weights, labelled, data)


def test_neurons_become_the_bars_that_they_see(example: ModuleType) -> None:
    data = (*bars(1, 80), *bars(2, 50))
    learned, assigned, course, accuracy = example.experiment(data, 12, images=80, tests=50, seed=0)
    assert course.size == 0  # too few for a window
    assert set(assigned.tolist()) == {0, 1, 2, 3}
    assert accuracy > 0.9
    assert likeness(learned.weights, assigned, data) > 0.1
    assert untaught(example, data, 12, 50)[1] < 0.05


@pytest.mark.data
def test_neurons_become_digits(example: ModuleType, data_root: Path) -> None:
    data = mnist(data_root)
    learned, assigned, _, accuracy = example.experiment(data, 36, images=300, tests=200, seed=0)
    without, unlike = untaught(example, data, 36, 200)
    assert accuracy > max(0.33, without + 0.1)
    assert likeness(learned.weights, assigned, data) > max(0.05, 2 * unlike)


def test_pictures_show_every_field(example: ModuleType, tmp_path: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    learned = Learned(random.random((784, 5)), np.full(5, 20.0))
    path = tmp_path / "fields.png"
    example.draw(str(path), learned, np.array([3, 1, 0, 0, 2]), np.array([0.2, 0.5]))
    with Image.open(path) as picture:
        assert picture.size == (1560, 780)
