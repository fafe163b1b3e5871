"""Identity, latency and probability of the task, and the measures of what was learned."""

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.reservoir import (
    Prediction,
    leading,
    peaks,
    principal_angles,
    shuffled_angles,
    trials_to_follow,
)

TASK = Prediction([[0.6, 0.3], [0.0, 1.0]], [[100.0, 200.0], [150.0, 150.0]], width=10.0)
TIMES = np.arange(0.0, 400.0, 5.0)


def test_draws_have_the_probabilities_of_their_cues() -> None:
    cues = np.arange(4000) % 2
    found = TASK.draw(cues, seed=1)
    shares = [(found[cues == 0] == k).mean() for k in (0, 1, -1)]
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=4 * (0.25 / 2000) ** 0.5)
    assert set(found[cues == 1].tolist()) == {1}
    assert (found == TASK.draw(cues, seed=1)).all()
    assert (found != TASK.draw(cues, seed=2)).any()


def test_blocks_have_each_outcome_as_often_as_it_is_likely() -> None:
    cues = np.random.default_rng(0).integers(0, 2, 200)
    found = TASK.draw(cues, seed=1, block=10)[cues == 0]
    for first in range(0, len(found) // 10 * 10, 10):
        counts = [(found[first : first + 10] == k).sum() for k in (0, 1, -1)]
        assert counts == [6, 3, 1]


def test_pulses_and_gates_stand_at_the_latency() -> None:
    target = TASK.target(0, 1, TIMES)
    assert TIMES[target[:, 1].argmax()] == 200.0
    assert target.max() == 1.0
    assert (target[:, 0] == 0).all()
    assert (TASK.target(0, -1, TIMES) == 0).all()
    gate = TASK.gate(0, TIMES)
    assert TIMES[gate[:, 0] == 1][[0, -1]].tolist() == [40.0, 160.0]
    assert set(gate.ravel().tolist()) == {0.0, 1.0}


def test_wrong_tasks_are_refused() -> None:
    for p, message in (([[0.6, 0.5]], "rows up to 1"), ([0.5], "rows up to 1")):
        with pytest.raises(UserError, match=message):
            Prediction(p, 100.0)
    with pytest.raises(UserError, match="latency must fit"):
        Prediction([[0.5]], [1.0, 2.0])
    with pytest.raises(UserError, match="latency must be > 0"):
        Prediction([[0.5]], 0.0)
    with pytest.raises(UserError, match="latency must be finite"):
        Prediction([[0.5]], float("inf"))
    with pytest.raises(UserError, match="block must be a whole number >= 1, got 0"):
        TASK.draw([0], seed=1, block=0)
    with pytest.raises(UserError, match=r"cues must be from 0 to 1, got \[2\]"):
        TASK.draw([2], seed=1)
    assert TASK.draw([], seed=1).tolist() == []
    with pytest.raises(UserError, match="width must be > 0"):
        Prediction([[0.5]], 1.0, width=0.0)


def test_peaks_and_the_trials_until_they_have_moved() -> None:
    def bump(at: float) -> np.ndarray:
        return np.exp(-0.5 * ((TIMES - at) / 20.0) ** 2)

    when, height = peaks(0.7 * bump(150.0)[:, None], TIMES)
    assert when.tolist() == [150.0]
    assert height == pytest.approx([0.7])
    moving = np.array([bump(at) for at in (100, 100, 200, 100, 200, 200, 200, 200)])
    how = {"within": 20.0, "window": 1, "held": 3}
    assert trials_to_follow(moving, TIMES, 200.0, **how) == 5
    assert trials_to_follow(moving, TIMES, 300.0, **how) == 9
    assert trials_to_follow(moving[4:], TIMES, 200.0, **how) == 1


def test_angles_are_those_of_planes_turned_by_them() -> None:
    random = np.random.default_rng(2)
    basis = np.linalg.qr(random.standard_normal((20, 4)))[0]
    for angle in (0.0, 25.0, 90.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turned = basis[:, [0, 1]] * [c, 1.0] + basis[:, [2, 3]] * [s, 0.0]
        mix = random.standard_normal((2, 2))
        found = principal_angles(basis[:, :2] @ mix, turned)
        assert found == pytest.approx([0.0, angle], abs=1e-5)


def test_sets_of_their_own_stand_out_of_shuffled_ones() -> None:
    random = np.random.default_rng(3)
    first, second = np.zeros((20, 50)), np.zeros((20, 50))
    first[:, :5], second[:, 5:10] = random.standard_normal((2, 20, 5))
    angle, shuffled = shuffled_angles(first, second, 5, seed=0, count=200)
    assert angle == pytest.approx(90.0)
    assert angle > np.quantile(shuffled, 0.95)
    angle, shuffled = shuffled_angles(first[:10], first[10:], 5, seed=0, count=20)
    assert angle == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(UserError, match="from 1 to 5, the rank"):
        leading(first, 6)
