"""Projections that make pairs meet."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spikesim.errors import UserError
from spikesim.liquid.contrastive import (
    contrastive_loss,
    fit_projections,
    pairs_by_class,
    projection,
    retrieve,
)

BATCH = 16


@pytest.mark.parametrize("targets", ["soft", "identity"])
def test_the_loss_of_equal_orthonormal_pairs_vanishes(targets: str) -> None:
    same = torch.linalg.qr(torch.randn(BATCH, BATCH, dtype=torch.float64))[0]
    loss = contrastive_loss(same, same, 0.01, targets)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("targets", ["soft", "identity"])
def test_the_loss_of_random_pairs_is_the_logarithm_of_their_number(targets: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (F.normalize(torch.randn(BATCH, 4096, generator=generator)) for _ in range(2))
    loss = contrastive_loss(a, b, 1.0, targets)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(math.log(BATCH), abs=0.02)


def test_the_loss_is_the_cross_entropy_of_both_directions() -> None:
    a, b = torch.randn(2, 5, 3, dtype=torch.float64)
    soft, hard = [], []
    for i in range(5):
        alike = torch.stack([(a[i] @ a[j] + b[i] @ b[j]) / (2 * 0.7) for j in range(5)])
        for one, other in ((a, b), (b, a)):
            logs = torch.stack([one[i] @ other[j] / 0.7 for j in range(5)]).log_softmax(0)
            soft.append(-(alike.softmax(0) * logs).sum())
            hard.append(-logs[i])
    for targets, parts in (("soft", soft), ("identity", hard)):
        loss = contrastive_loss(a, b, 0.7, targets)  # type: ignore[arg-type]
        torch.testing.assert_close(loss, torch.stack(parts).mean())


def clusters(n: int, seed: int, centres: int) -> tuple[torch.Tensor, np.ndarray]:
    labels = np.arange(n) % 7
    middle = torch.randn(7, 40, generator=torch.Generator().manual_seed(centres))
    noise = 0.3 * torch.randn(n, 40, generator=torch.Generator().manual_seed(seed))
    return middle[torch.as_tensor(labels)] + noise, labels


def test_retrieval_needs_pairs_of_one_class() -> None:
    (a, y), (b, z) = clusters(210, 1, 100), clusters(210, 2, 101)
    (query, wanted), (gallery, labels) = clusters(350, 3, 100), clusters(350, 4, 101)
    rows = pairs_by_class(y, z, range(7))
    shuffled = rows[0], np.random.default_rng(0).permutation(rows[1])
    found = []
    for i, j in (rows, shuffled):
        one, other = fit_projections(a[i], b[j], epochs=8)
        with torch.no_grad():
            found.append(retrieve(one(query), other(gallery), wanted, labels))
    assert found[0].accuracy > 0.95
    # Entries that resemble all queries win: classes, not queries, are the independent draws.
    assert found[1].accuracy == pytest.approx(1 / 7, abs=0.15)


def test_pairs_are_of_one_class_and_take_each_of_the_second_kind_once() -> None:
    first, second = np.array([1, 2, 1, 1, 3]), np.array([2, 2, 1, 2, 4])
    i, j = pairs_by_class(first, second, (1, 2))
    assert i.tolist() == [0, 1, 1, 1]
    assert j.tolist() == [2, 0, 1, 3]
    with pytest.raises(UserError, match="no recordings of class 4"):
        pairs_by_class(first, second, (1, 4))


def test_projections_have_the_layers_asked_for() -> None:
    layers = list(projection(200, 64, 2))
    assert [type(layer).__name__ for layer in layers] == ["Linear", "GELU"] * 2
    assert layers[2].in_features == layers[2].out_features == 64


def test_bad_choices_are_refused() -> None:
    a = torch.zeros(2, 2)
    with pytest.raises(UserError, match="targets must be 'soft' or 'identity', got 'hard'"):
        contrastive_loss(a, a, 1.0, "hard")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"temperature must be > 0, got 0\.0"):
        contrastive_loss(a, a, 0.0)


def test_pairs_of_unequal_number_are_refused() -> None:
    with pytest.raises(UserError, match="as many rows of either kind, got 3, 4"):
        fit_projections(torch.zeros(3, 2), torch.zeros(4, 2))
