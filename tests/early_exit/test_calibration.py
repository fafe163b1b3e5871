"""Calibration error, smoothing, thresholds and intervals, against peers and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchmetrics.functional.classification import multiclass_calibration_error

from spikesim.early_exit import (
    Point,
    accuracy_by_step,
    calibrate,
    curve,
    expected_calibration_error,
    paired_difference,
    pareto,
)


def test_calibration_error_by_hand() -> None:
    # Five bins. (0.6, 0.8]: 2 of 3 right at 0.7 on average; (0.8, 1.0]: 1 of 2 right at 0.95.
    sure = torch.tensor([0.65, 0.7, 0.75, 0.9, 1.0], dtype=torch.float64)
    right = torch.tensor([True, True, False, True, False])
    expected = 3 / 5 * (0.7 - 2 / 3) + 2 / 5 * (0.95 - 0.5)
    assert expected_calibration_error(sure, right, bins=5) == pytest.approx(expected)
    assert expected_calibration_error(torch.tensor([0.0, 0.0]), torch.tensor([True, False])) == 0.5


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_calibration_error_equals_that_of_torchmetrics(bins: int) -> None:
    chances = (torch.randn(501, 4, dtype=torch.float64) * 2).softmax(1)
    targets = torch.randint(4, (501,))
    sure, said = chances.max(1)
    theirs = multiclass_calibration_error(chances, targets, num_classes=4, n_bins=bins)
    ours = expected_calibration_error(sure, said == targets, bins)
    assert ours == pytest.approx(float(theirs), abs=1e-6)  # theirs is float32


@pytest.mark.parametrize("true", [0.5, 3.0, 20.0])
def test_the_alpha_that_classes_were_drawn_with_is_found(true: float) -> None:
    outputs = 2 * true * torch.randn(1, 10_000, 4)
    targets = torch.multinomial((outputs[0] / true).softmax(-1), 1).squeeze(1)
    found = calibrate(outputs, targets)
    assert 0.85 < found.rule.alpha / true < 1.18  # neighbours in the range are 12 % apart
    assert found.errors[found.rule.alpha] < 0.02


def test_the_least_latency_within_the_tolerance_is_chosen() -> None:
    targets = torch.randint(5, (200,))
    outputs = torch.randn(9, 200, 5)
    outputs[:, torch.arange(200), targets] += 0.6
    full = accuracy_by_step(outputs, targets)[-1]
    assert full == float((outputs.sum(0).argmax(-1) == targets).double().mean())
    before = 9.0
    for tolerance in (0.0, 0.01, 0.05, 0.5):
        found = calibrate(outputs, targets, alphas=(0.5, 1.0, 2.0, 4.0, 8.0), tolerance=tolerance)
        all_points = curve(outputs, targets, found.rule.alpha)
        allowed = [p.latency for p in all_points if p.accuracy >= full - tolerance]
        chosen = found.rule(outputs)
        assert chosen.latency == min(allowed) <= before
        assert chosen.accuracy(targets) >= full - tolerance
        before = chosen.latency
    assert before == 1.0


def test_all_steps_are_always_among_the_choices() -> None:
    outputs = torch.tensor([[[0.1, 0.0]], [[0.0, 1.0]]])  # right at the last step alone
    found = calibrate(outputs, torch.tensor([1]), alphas=(1.0,), thresholds=(0.5,))
    assert (found.rule.threshold, found.rule(outputs).steps.tolist()) == (1.0, [2])


def test_front_by_hand() -> None:
    a, b, c, d = Point(0, 1, 0.5), Point(1, 2, 0.4), Point(2, 3, 0.9), Point(3, 3, 0.8)
    assert pareto([d, b, c, a, Point(4, 5, 0.9)]) == (a, c)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=20))
@settings(deadline=None)
def test_front_leaves_nothing_better(pairs: list[tuple[int, int]]) -> None:
    points = [Point(0.5, latency, accuracy) for latency, accuracy in pairs]
    front = pareto(points)
    for p in points:
        assert any(f.latency <= p.latency and f.accuracy >= p.accuracy for f in front)
    for f in front:
        others = [p for p in points if (p.latency, p.accuracy) != (f.latency, f.accuracy)]
        assert not any(p.latency <= f.latency and p.accuracy >= f.accuracy for p in others)


def test_interval_of_a_difference_equals_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    reference = random.random(2000) < 0.95
    right = np.where(random.random(2000) < 0.03, ~reference, reference)
    found = paired_difference(torch.from_numpy(right), torch.from_numpy(reference))
    theirs = stats.bootstrap(
        (right.astype(float), reference.astype(float)),
        lambda a, b, axis=-1: a.mean(axis) - b.mean(axis),
        paired=True, n_resamples=4000, batch=500, method="percentile", random_state=random,
    ).confidence_interval  # fmt: skip
    assert found.value == pytest.approx(right.mean() - reference.mean())
    # Either end is known to about a fortieth of the interval from so many draws.
    assert found.low == pytest.approx(theirs.low, abs=6e-4)
    assert found.high == pytest.approx(theirs.high, abs=6e-4)
