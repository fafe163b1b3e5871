"""The reservoir that hears cues: its trials, and what its readouts learn in full size."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network.recipes.what_when import cue_of, what_when
from spikesim.reservoir import RLS, Prediction, ThreeFactor, fit, learn, record

EXAMPLE = Path(__file__).parents[2] / "examples" / "what_when_reservoir.py"


def test_trials_are_those_of_the_network_and_like_each_other_by_cue() -> None:
    net = what_when(scale=0.1, seed=2, cues=2)
    first = record(net, 5, cues=2)
    more = record(net, 5, cues=2)
    assert first.r.shape == (5, 100, 100)
    assert first.times[[0, -1]].tolist() == [5.0, 500.0]
    shown = [cue_of(n, 2, 2) for n in range(10)]
    assert [*first.cues.tolist(), *more.cues.tolist()] == shown
    assert len(set(shown)) == 2
    r = np.concatenate([first.r, more.r]).reshape(10, -1)
    alike = np.corrcoef(r)
    same = np.equal.outer(shown, shown) & ~np.eye(10, dtype=bool)
    assert alike[same].mean() > alike[~same & ~np.eye(10, dtype=bool)].mean() + 0.3
    assert len(first.of(shown[0])) == shown[:5].count(shown[0])
    assert first.power == pytest.approx((first.r**2).sum(2).mean(), rel=1e-4)
    again = record(what_when(scale=0.1, seed=2, cues=2), 5, cues=2)
    assert (again.r == first.r).all()


def test_without_a_cue_neurons_rest() -> None:
    net = what_when(scale=0.1, seed=1)
    probe = net.probe(net.groups[0], "spikes")
    net.run(1500.0)
    assert (probe.times < 400.0).sum() > 20
    assert (probe.times > 1000.0).sum() < 0.05 * len(probe)


def test_both_rules_see_the_same_trials() -> None:
    trials = record(what_when(scale=0.1, seed=3, cues=1), 20, cues=1)
    task = Prediction([[1.0]], 150.0)
    weight = np.zeros((1, 100))
    local = ThreeFactor(weight, eta_when=0.3 / trials.power, eta_what=0.0, dt=5.0)
    squares = RLS(np.zeros((1, 100)), ridge=0.1)
    at = np.searchsorted(trials.times, 150.0)
    for outputs in (learn(trials, task, local, seed=1), fit(trials, task, squares, seed=1)):
        assert outputs.shape == (20, 100, 1)
        assert outputs[0, 0, 0] == 0.0
        assert outputs[-5:, at, 0].mean() > 0.6


def test_wrong_recipes_are_refused() -> None:
    with pytest.raises(UserError, match="cues must be >= 1"):
        what_when(cues=0)


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("what_when_reservoir", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_example_meets_what_it_says() -> None:
    module = example()
    found = module.experiment(1, 320)
    assert np.abs(found.late).max() <= module.TAU
    assert found.slope == pytest.approx(1.0, abs=0.1)
    assert max(found.followed["three factors"]) < min(found.followed["FORCE"])
    assert found.angle > np.quantile(found.shuffled, 0.95)
