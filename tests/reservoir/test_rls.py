"""Recursive least squares against its closed form, and the published order of its lines."""

import copy

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.reservoir import RLS
from spikesim.reservoir.rls import DEPTH

TOLERANCE = 1e-6


@pytest.mark.parametrize("samples", [5, DEPTH, 3 * DEPTH + 7])
@pytest.mark.parametrize("ridge", [0.5, 0.03])
def test_the_textbook_gain_is_ridge_regression(samples: int, ridge: float) -> None:
    random = np.random.default_rng(samples)
    r, y = random.random((samples, 40)), random.standard_normal((samples, 2))
    rule = RLS(np.zeros((2, 40)), ridge=ridge)
    for row, target in zip(r, y, strict=True):
        rule.update(row, rule.weight @ row - target)
    expected = np.linalg.solve(r.T @ r + ridge * np.eye(40), r.T @ y).T
    assert np.abs(rule.weight - expected).max() < TOLERANCE


def test_the_published_gain_takes_the_matrix_before_its_update() -> None:
    """``cd = P r; phi -= cd e^T; P -= cd cd^T / (1 + r^T cd)`` from ``P = 2 I``."""
    random = np.random.default_rng(1)
    phi, p = np.zeros((30, 1)), 2.0 * np.eye(30)
    rule = RLS(np.zeros((1, 30)), ridge=0.5, gain="published")
    for _ in range(2 * DEPTH + 5):
        r, y = random.random(30) * 0.3, random.standard_normal()
        error = float(phi[:, 0] @ r) - y
        cd = p @ r
        phi[:, 0] -= cd * error
        p -= np.outer(cd, cd) / (1.0 + r @ cd)
        rule.update(r, rule.weight @ r - y)
    assert np.abs(rule.weight[0] - phi[:, 0]).max() < TOLERANCE


def test_copies_part_and_a_reset_forgets_samples_only() -> None:
    rule = RLS(np.zeros((1, 3)))
    rule.update(np.ones(3), np.array([-1.0]))
    other = copy.deepcopy(rule)
    other.update(np.ones(3), np.array([-1.0]))
    assert (other.weight > rule.weight).all()
    weight = rule.weight.copy()
    rule.reset()
    assert (rule.weight == weight).all()
    rule.update(np.array([1.0, 0.0, 0.0]), np.array([-1.0]))
    assert rule.weight[0, 0] - weight[0, 0] == pytest.approx(2.0 / 3.0)  # P = 2 I again


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UserError, match="ridge must be > 0"):
        RLS(np.zeros((1, 2)), ridge=0.0)
    with pytest.raises(UserError, match="gain must be"):
        RLS(np.zeros((1, 2)), gain="other")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"an array of float64 .*, got float32 \[1, 2\]"):
        RLS(np.zeros((1, 2), np.float32))  # type: ignore[arg-type]
    rule = RLS(np.zeros((1, 2)))
    with pytest.raises(UserError, match=r"weight is \[1, 2\], which does not fit an error \[2\]"):
        rule.update(np.ones(2), np.ones(2))
    rule.update(np.ones(2), -np.ones(1))
    assert rule.weight.tolist() == [[0.4, 0.4]]  # as if nothing had been asked before
