"""Dopamine finds the synapse that earns it, and only where it does earn it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikesim.network.recipes import distal_reward

EXAMPLE = Path(__file__).parents[2] / "examples" / "distal_reward.py"
SCALE = 0.2
"""200 neurons with as many synapses each as 1,000 have."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distal_reward_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_network_is_the_published_one() -> None:
    net = distal_reward(seed=1)
    excitatory, inhibitory = net.groups
    assert (excitatory.size, inhibitory.size) == (800, 200)
    ends = [(p.pre.name, p.post.name, p.is_plastic) for p in net.projections]
    assert ends == [
        ("excitatory", "excitatory", True),
        ("excitatory", "inhibitory", True),
        ("inhibitory", "excitatory", False),
    ]
    for projection, weight in zip(net.projections, (1.0, 1.0, -1.0), strict=True):
        table = projection.table()
        assert set(table["weight"]) == {weight}
        assert set(table["delay"]) == {1.0}
        pairs = projection.pre.size * (projection.post.size - (projection.pre is projection.post))
        assert len(projection) / pairs == pytest.approx(0.1, rel=0.02)
    # The author's program, its noise uniform, fires at 1.38 and 0.87 Hz.
    probes = [net.probe(group, "spikes") for group in net.groups]
    net.run(10_000.0)
    assert probes[0].rate == pytest.approx(1.38, rel=0.15)
    assert probes[1].rate == pytest.approx(0.87, rel=0.15)


def test_only_the_synapse_that_earns_rewards_grows(example: ModuleType) -> None:
    seed, minutes = 2, 25.0
    rewarded = example.experiment(seed, minutes, scale=SCALE)
    at_random = example.control(rewarded, seed, minutes, scale=SCALE)
    assert len(rewarded.rewards) == len(at_random.rewards) > 20
    assert rewarded.chosen[0] < 0.1
    grown, mean = example.late(rewarded)
    assert grown > 0.9 * 4.0
    assert (rewarded.weights[1:] < rewarded.weights[0]).mean() > 0.99
    left, mean_at_random = example.late(at_random)
    assert left < 0.25 * 4.0
    assert 0.3 < mean < 0.7  # all began at 1
    assert mean == pytest.approx(mean_at_random, rel=0.1)


def test_rewards_come_late_and_are_all_that_the_network_is_told(example: ModuleType) -> None:
    first = example.experiment(2, 4.0, scale=SCALE)
    again = example.experiment(2, 4.0, first.rewards.tolist(), scale=SCALE)
    assert 2 <= len(first.rewards) < 60
    np.testing.assert_array_equal(first.rewards, again.rewards)
    np.testing.assert_array_equal(first.weights, again.weights)
    other = example.experiment(2, 4.0, (first.rewards + 1.0).tolist(), scale=SCALE)
    assert (other.weights != first.weights).any()


def test_dopamine_rests_at_its_baseline(example: ModuleType) -> None:
    course = example.experiment(0, 1.0, [30_000.0], scale=SCALE)
    rise = course.dopamine[30] - np.median(course.dopamine)
    assert rise == pytest.approx(0.5 * np.exp(-1000.0 / 200.0), rel=0.01)
    # Right after a portion of tonic dopamine; between two it falls by 1 - exp(-250 / 200).
    portion = 0.01 * 0.25
    assert np.median(course.dopamine) == pytest.approx(portion / (1 - np.exp(-1.25)), rel=1e-3)
    assert portion / 0.25 * 0.2 == pytest.approx(0.002)


def test_pictures_show_both_runs(example: ModuleType, tmp_path: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    course = example.Course(*random.random((3, 120)), np.array([3.0]), 4 * random.random(50))
    path = tmp_path / "course.png"
    example.draw(str(path), course, course)
    with Image.open(path) as picture:
        assert picture.size == (960, 1080)
