"""The reservoir that hears cues: its trials, and what its readouts learn in full size."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import Network
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
    for wrong, message in (
        ({"cues": 0}, "cues must be a whole number >= 1, got 0"),
        ({"p": 0.0}, "p must be > 0"),
        ({"slowest": 0.0}, "0 < slowest <= 1"),
        ({"cue_ms": 2000.0}, r"need 0 < cue_ms <= trial, got 2000.0 and 1500.0 ms"),
    ):
        with pytest.raises(UserError, match=message):
            what_when(scale=0.01, **wrong)  # type: ignore[arg-type]


def test_records_leave_no_probe_and_begin_with_a_trial() -> None:
    net = what_when(scale=0.01, cues=1)
    record(net, 1, cues=1)
    assert net.probes == []
    with pytest.raises(UserError, match="until must be at most trial"):
        record(net, 1, cues=1, until=1600.0)
    with pytest.raises(UserError, match="count must be a whole number >= 1"):
        record(net, 0, cues=1)
    net.run(100.0)
    with pytest.raises(UserError, match="but the network is at 1600"):
        record(net, 1, cues=1)
    with pytest.raises(UserError, match="of one population, got 0 groups"):
        record(Network(), 1)


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
    found = module.experiment(1, 160, scale=0.5)
    assert np.abs(found.late).max() <= module.TAU
    # Of half the neurons and trials, with both of which it grows: of all it is 0.93.
    assert found.slope == pytest.approx(1.0, abs=0.3)
    heights = found.learned.max(1).ravel()
    assert np.corrcoef(heights, np.ravel(module.PROBABILITY))[0, 1] > 0.95
    assert max(found.followed["three factors"]) < min(found.followed["FORCE"])
    assert found.angle > np.quantile(found.shuffled, 0.95)
