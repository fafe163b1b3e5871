"""The fixed points of the local rule, its routes, and its gates."""

import dataclasses

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.reservoir import Prediction, ThreeFactor, Trials, learn

TIMES = 5.0 * np.arange(1, 81)
NEURONS = 30


def activity(trials: int, seed: int = 0) -> Trials:
    """Bumps that follow each other, the same in each trial but for a little noise."""
    random, centres = np.random.default_rng(seed), np.linspace(0.0, 420.0, NEURONS)
    bumps = np.exp(-0.5 * ((TIMES[:, None] - centres) / 20.0) ** 2)
    r = bumps + 0.02 * random.standard_normal((trials, *bumps.shape))
    return Trials(TIMES, np.zeros(trials, np.int64), r)


def rule(**changed: float) -> ThreeFactor:
    given = {"eta_when": 0.01, "eta_what": 0.005, "dt": 5.0, **changed}
    return ThreeFactor(np.zeros((2, NEURONS)), **given)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_output_at_the_latency_is_the_probability(p: float) -> None:
    task = Prediction([[p, 0.1]], 200.0)
    outputs = learn(activity(400), task, rule(), seed=3)
    at = outputs[100:, np.searchsorted(TIMES, 200.0)]
    came = np.stack([task.draw(np.zeros(400, int), seed=3) == k for k in (0, 1)], 1)
    # The mean of what came, not p: 400 draws lie up to 0.05 beside it.
    assert at.mean(0) == pytest.approx(came[100:].mean(0), abs=0.03)
    assert at.mean(0) == pytest.approx([p, 0.1], abs=0.08)
    assert TIMES[outputs[-50:, :, 0].mean(0).argmax()] == pytest.approx(200.0, abs=10.0)


def test_its_variance_grows_with_the_rate() -> None:
    task, spread = Prediction([[0.5, 0.0]], 200.0), []
    for eta in (0.002, 0.02):
        outputs = learn(activity(400), task, rule(eta_when=eta, eta_what=0.0), seed=4)
        spread.append(outputs[200:, np.searchsorted(TIMES, 200.0), 0].var())
    assert spread[1] > 3.0 * spread[0]


def test_omissions_alone_bring_the_output_to_0() -> None:
    task = Prediction([[1.0, 0.0]], 200.0)
    local = rule()
    learn(activity(100), task, local, seed=5)
    gone = learn(activity(200), dataclasses.replace(task, probability=[[0.0, 0.0]]), local, seed=6)
    near = np.abs(TIMES - 200.0) <= task.window
    assert gone[0, near, 0].max() > 0.8
    assert np.abs(gone[-1][near]).max() < 0.02


def test_each_route_alone_gets_there_and_their_changes_add_up() -> None:
    task = Prediction([[0.7, 0.3]], 200.0)
    for rates in ({"eta_when": 0.0}, {"eta_what": 0.0}, {}):
        local = rule(**rates)
        outputs = learn(activity(300), task, local, seed=7, block=10)
        at = outputs[-100:, np.searchsorted(TIMES, 200.0)].mean(0)
        assert at == pytest.approx([0.7, 0.3], abs=0.05)
        assert np.allclose(local.when + local.what, local.weight)
        assert (local.when == 0).all() == ("eta_when" in rates)
        assert (local.what == 0).all() == ("eta_what" in rates)


def test_a_step_is_the_product_of_its_factors() -> None:
    local = ThreeFactor(np.zeros((2, 2)), eta_when=0.5, eta_what=0.25, tau_mean=10.0, dt=10.0)
    local.mean[:] = [0.0, 1.0]
    before = local.step(np.array([2.0, 3.0]), np.array([1.0, 1.0]), np.array([1.0, 0.5]))
    assert before.tolist() == [0.0, 0.0]
    assert local.weight.tolist() == [[1.0, 1.0], [0.5, 0.5]]  # eta g e (r - mean)
    assert local.mean == pytest.approx([2.0 * (1 - np.exp(-1)), 1.0 + 2.0 * (1 - np.exp(-1))])
    local.end_trial()
    assert local.weight.tolist() == [[1.5, 1.5], [0.75, 0.75]]
    local.end_trial()
    assert local.weight.tolist() == [[1.5, 1.5], [0.75, 0.75]]


def test_a_closed_gate_learns_nothing_until_something_is_expected() -> None:
    closed = np.zeros(2)
    local = ThreeFactor(np.eye(2), eta_when=0.1, eta_what=0.0, expects=0.5)
    local.step(np.array([0.4, 0.6]), closed, closed)
    assert local.weight[0].tolist() == [1.0, 0.0]
    assert local.weight[1] == pytest.approx([-0.1 * 0.6 * 0.4, 1.0 - 0.1 * 0.6 * 0.6])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UserError, match="eta_when must be >= 0"):
        rule(eta_when=-1.0)
    with pytest.raises(UserError, match="tau_mean must be > 0"):
        rule(tau_mean=0.0)
    with pytest.raises(UserError, match=r"got float64 \[3\]"):
        ThreeFactor(np.zeros(3), eta_when=0.1, eta_what=0.0)
    with pytest.raises(UserError, match="got list"):
        ThreeFactor([[0.0]], eta_when=0.1, eta_what=0.0)  # type: ignore[arg-type]
