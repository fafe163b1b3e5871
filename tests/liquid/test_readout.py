"""The linear readout of spike counts."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spikesim.errors import UserError
from spikesim.liquid.readout import Score, fit_readout, soft_targets


def task(n: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Poisson counts whose means tell the class, and how bright the stimulus was."""
    random = np.random.default_rng(seed)
    means = np.random.default_rng(0).uniform(0.5, 6.0, (classes, 12))
    labels = random.integers(0, classes, n)
    bright = random.uniform(0.5, 3.0, (n, 1))
    return random.poisson(means[labels] * bright), labels


def test_targets_are_a_softmax_of_plus_and_minus_one() -> None:
    targets = soft_targets(torch.tensor([3]), 10)
    true = math.e / (math.e + 9 / math.e)
    assert targets[0, 3].item() == pytest.approx(true)
    assert targets[0, 0].item() == pytest.approx((1 - true) / 9)
    assert (round(true, 3), round((1 - true) / 9, 3)) == (0.451, 0.061)


def test_the_loss_begins_at_the_logarithm_of_ten() -> None:
    """With targets that any logits of zero meet equally badly."""
    labels = torch.arange(10)
    loss = F.cross_entropy(torch.zeros(10, 10), soft_targets(labels, 10))
    assert loss.item() == pytest.approx(2.3026, abs=1e-4)


@pytest.mark.parametrize("soft", [True, False])
def test_it_ends_where_the_gradient_vanishes(soft: bool) -> None:
    counts, labels = task(300, 1)
    penalty = 1e-3
    readout = fit_readout(
        counts, labels, (counts, labels), classes=4, penalties=[penalty], epochs=1, soft=soft
    )
    later = fit_readout(
        counts, labels, (counts, labels), classes=4, penalties=[penalty], epochs=60, soft=soft
    )
    slopes = []
    for found in (readout, later):
        w = found.weight.double().requires_grad_()
        x = torch.as_tensor(counts / counts.sum(1, keepdims=True)) / found.largest
        y = torch.as_tensor(labels)
        targets = soft_targets(y, 4) if soft else F.one_hot(y, 4)
        logits = x @ w.T + found.bias.double()
        loss = F.cross_entropy(logits, targets.double()) + penalty * w.square().sum()
        slopes.append(torch.autograd.grad(loss, w)[0].abs().max().item())
    assert max(slopes) < 0.02
    assert later.score(*task(1000, 2)).accuracy > 0.9


def test_adadelta_goes_the_same_way_slowly() -> None:
    (counts, labels), other = task(500, 3), task(500, 4)
    fast = fit_readout(counts, labels, other, classes=4)
    slow = fit_readout(counts, labels, other, classes=4, optimizer="adadelta", batch=10)
    assert slow.score(*other).accuracy == pytest.approx(fast.score(*other).accuracy, abs=0.1)


def test_shares_forget_how_bright_a_stimulus_was() -> None:
    counts, labels = task(200, 5)
    found = fit_readout(counts, labels, (counts, labels), classes=4)
    torch.testing.assert_close(found(counts), found(3 * counts))
    raw = fit_readout(counts, labels, (counts, labels), classes=4, shares=False)
    assert raw.largest == counts.max()
    assert not torch.allclose(raw(counts), raw(3 * counts))


def test_the_best_on_the_validation_set_is_kept() -> None:
    (counts, labels), valid = task(200, 6), task(100, 7)
    every = [
        fit_readout(counts, labels, valid, classes=4, penalties=[p], epochs=3).score(*valid)
        for p in (1e-4, 10.0)
    ]
    both = fit_readout(counts, labels, valid, classes=4, penalties=(1e-4, 10.0), epochs=3)
    assert both.score(*valid).correct == max(score.correct for score in every)
    assert every[0].correct > every[1].correct


def test_scores_add_up() -> None:
    total = Score(3, 4) + Score(5, 6)
    assert (total.correct, total.total, total.accuracy) == (8, 10, 0.8)
    assert str(total) == "80.00% (49.02% to 94.33% of 10)"


def test_bad_choices_are_refused() -> None:
    counts, labels = task(10, 8)
    with pytest.raises(UserError, match="optimizer must be 'lbfgs' or 'adadelta', got 'sgd'"):
        fit_readout(counts, labels, (counts, labels), optimizer="sgd")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="need an epoch and a penalty at least, got 0"):
        fit_readout(counts, labels, (counts, labels), epochs=0)
    with pytest.raises(UserError, match=r"labels \[n\] from 0 to 2, got"):
        fit_readout(counts, labels, (counts, labels), classes=3)
    with pytest.raises(UserError, match="with n >= 1"):
        fit_readout(counts[:0], labels[:0], (counts, labels))


def test_a_silent_liquid_is_read_by_the_commonest_class() -> None:
    counts, labels = np.zeros((10, 5)), np.array([1, 2, 2, 2, 0, 2, 1, 2, 2, 2])
    readout = fit_readout(counts, labels, (counts, labels), classes=3)
    assert bool(readout.weight.isfinite().all())
    assert readout.score(counts, labels).correct == 7
