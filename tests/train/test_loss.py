"""Losses against their formulas, written out with log-softmax."""

import pytest
import torch

from spikesim.errors import UserError
from spikesim.train.loss import TET, CrossEntropy

Y = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
TARGET = torch.tensor([0, 2, 1, 2])
ONE_HOT = torch.eye(3)[TARGET]


def entropy(values_BK: torch.Tensor, target_BK: torch.Tensor) -> torch.Tensor:
    return -(target_BK * values_BK.log_softmax(-1)).sum(-1).mean()


def test_cross_entropy_of_the_mean() -> None:
    torch.testing.assert_close(CrossEntropy()(Y, TARGET), entropy(Y.mean(0), ONE_HOT))
    torch.testing.assert_close(CrossEntropy("last")(Y, TARGET), entropy(Y[-1], ONE_HOT))


@pytest.mark.parametrize("loss", [CrossEntropy(label_smoothing=0.1), TET(label_smoothing=0.1)])
def test_indices_equal_one_hot(loss: CrossEntropy | TET) -> None:
    torch.testing.assert_close(loss(Y, TARGET), loss(Y, ONE_HOT))


def test_smoothing_spreads_the_target() -> None:
    smooth = 0.7 * ONE_HOT + 0.3 / 3
    torch.testing.assert_close(
        CrossEntropy(label_smoothing=0.3)(Y, TARGET), entropy(Y.mean(0), smooth)
    )


def test_mixup_target_mixes_the_losses() -> None:
    other = torch.eye(3)[TARGET.flip(0)]
    for loss in (CrossEntropy(), TET()):
        mixed = loss(Y, 0.3 * ONE_HOT + 0.7 * other)
        torch.testing.assert_close(mixed, 0.3 * loss(Y, ONE_HOT) + 0.7 * loss(Y, other))


@pytest.mark.parametrize(("weight", "means"), [(0.0, 1.0), (1e-3, 1.0), (0.05, 0.5), (1.0, 0.0)])
def test_tet_is_its_formula(weight: float, means: float) -> None:
    per_step = torch.stack([entropy(y, ONE_HOT) for y in Y]).mean()
    level = ((Y - means) ** 2).sum() / Y.numel()
    expected = (1 - weight) * per_step + weight * level
    torch.testing.assert_close(TET(weight, means)(Y, TARGET), expected)


def test_tet_bounds_the_entropy_of_the_mean() -> None:
    # Jensen: cross-entropy is convex in the values.
    assert TET(weight=0.0)(Y, TARGET) >= CrossEntropy()(Y, TARGET)


def test_half_precision_values_are_summed_in_float32() -> None:
    assert CrossEntropy()(Y.bfloat16(), TARGET).dtype == torch.float32
    assert TET()(Y.bfloat16(), TARGET).dtype == torch.float32


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="did you mean 'mean'"):
        CrossEntropy("meen")
    with pytest.raises(UserError, match="label_smoothing"):
        CrossEntropy(label_smoothing=1.0)
    with pytest.raises(UserError, match="weight"):
        TET(weight=-0.1)
    with pytest.raises(ValueError, match=r"indices \[4\] or probabilities \[4, 3\]"):
        TET()(Y, TARGET[:3])
    with pytest.raises(ValueError, match=r"\[T, B, K\]"):
        CrossEntropy()(Y[0], TARGET)
