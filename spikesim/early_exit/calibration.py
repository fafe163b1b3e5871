r"""The two numbers of Dynamic Confidence, chosen on samples that neither train nor test.

Smoothing :math:`\alpha` is the one whose confidences are nearest to accuracies; the threshold is
the one of least latency whose accuracy stays within a tolerance of that of all steps. Shape legend:
``T`` steps, ``B`` samples, ``K`` classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikesim.early_exit.confidence import (
    DynamicConfidence,
    check_outputs,
    confidences,
    exits,
)
from spikesim.errors import UserError

ALPHAS = tuple(10 ** (k / 20) for k in range(-40, 81))
"""0.01 to 10,000, twenty a decade."""
THRESHOLDS = (0.0, *(1 / (1 + math.exp(-k / 8)) for k in range(-20, 129)))
"""0, and logistic steps to 1 - 1e-7: confidences crowd below 1."""


@dataclass(frozen=True)
class Point:
    """What a threshold gives: mean steps, and the fraction of right predictions."""

    threshold: float
    latency: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and from what.

    Attributes:
        rule: the choice.
        errors: calibration error of each ``alpha`` that was tried.
        curve: what each threshold gives with the chosen ``alpha``; the last one is 1, all steps.
        front: the points of ``curve`` that no other one beats in both numbers, by latency.
    """

    rule: DynamicConfidence
    errors: Mapping[float, float]
    curve: tuple[Point, ...]
    front: tuple[Point, ...]


def calibrate(
    outputs: Tensor,
    targets: Tensor,
    *,
    alphas: Sequence[float] = ALPHAS,
    thresholds: Iterable[float] = THRESHOLDS,
    tolerance: float = 0.0,
    bins: int = 15,
) -> Calibration:
    r"""Choose smoothing and threshold on a calibration set.

    :math:`\alpha` has the least calibration error, averaged over the steps, each of which has its
    own: errors of early and late steps, which are of opposite sign, must not cancel. Then the
    first point of the Pareto front is taken whose accuracy is that of all steps, less
    ``tolerance``. Both choices are ours where the published program has constants.

    Args:
        outputs: of each step, ``[T, B, K]``, of samples apart from training and test.
        targets: true classes, ``[B]``.
        alphas: to choose from, each > 0.
        thresholds: to choose from; 1 is always among them.
        tolerance: accuracy that may be given up, in [0, 1).
        bins: see :func:`expected_calibration_error`.

    Raises:
        UserError: a value out of its range, or the best ``alpha`` is an end of what was tried.
    """
    if not 0 <= tolerance < 1:
        raise UserError(f"tolerance must be an accuracy in [0, 1), got {tolerance}")
    check_targets(outputs, targets)
    errors = {}
    for alpha in sorted(alphas):
        sure, said = confidences(outputs, alpha)
        each = [
            expected_calibration_error(c, right, bins)
            for c, right in zip(sure, said == targets, strict=True)
        ]
        errors[alpha] = sum(each) / len(each)
    if not errors:
        raise UserError("alphas is empty; give at least one")
    best = min(errors, key=errors.__getitem__)
    if len(errors) > 1 and best in (min(errors), max(errors)):
        raise UserError(
            f"the best alpha, {best:.3g}, is an end of what was tried; give a wider range of alphas"
        )
    points = curve(outputs, targets, best, (*(c for c in thresholds if c != 1.0), 1.0))
    front = pareto(points)
    wanted = points[-1].accuracy - tolerance
    chosen = next(point for point in front if point.accuracy >= wanted)
    return Calibration(DynamicConfidence(best, chosen.threshold), errors, points, front)


def expected_calibration_error(sure: Tensor, right: Tensor, bins: int = 15) -> float:
    r"""How far confidence is from accuracy: their differences in bins of confidence, averaged.

    .. math:: \sum_m \frac{|B_m|}{n} \big| \mathrm{acc}(B_m) - \mathrm{conf}(B_m) \big|

    Args:
        sure: confidence of each prediction, in [0, 1], ``[n]``.
        right: whether it is right, ``[n]``.
        bins: of equal width, each without its lower end.

    Raises:
        UserError: sizes that differ, none, no bins, or a confidence outside [0, 1].

    Reference: Guo et al. (2017), *On calibration of modern neural networks*, ICML, equation 3.

    >>> sure = torch.tensor([0.9, 0.9], dtype=torch.float64)
    >>> expected_calibration_error(sure, torch.tensor([True, False]))
    0.4
    """
    if sure.shape != right.shape or sure.dim() != 1 or not len(sure):
        raise UserError(
            f"confidences {list(sure.shape)} and whether they are right {list(right.shape)} must "
            "both be [n], n >= 1"
        )
    if bins < 1:
        raise UserError(f"bins must be >= 1, got {bins}")
    if not bool(((sure >= 0) & (sure <= 1)).all()):
        raise UserError("confidences must be in [0, 1]; give those of the softmax")
    place = (sure.double() * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=sure.device)
    gap.index_add_(0, place, right.double() - sure.double())
    return float(gap.abs().sum()) / len(sure)


def accuracy_by_step(outputs: Tensor, targets: Tensor) -> list[float]:
    """Fraction of right predictions of outputs ``[T, B, K]`` when all stop after each step."""
    check_targets(outputs, targets)
    right = confidences(outputs, 1.0)[1] == targets  # alpha changes no class
    by_step: list[float] = right.double().mean(1).tolist()
    return by_step


def curve(
    outputs: Tensor, targets: Tensor, alpha: float, thresholds: Iterable[float] = (*THRESHOLDS, 1.0)
) -> tuple[Point, ...]:
    """Mean latency and accuracy of each threshold, in the order given."""
    check_targets(outputs, targets)
    seen = confidences(outputs, alpha)
    points = []
    for threshold in thresholds:
        rule = DynamicConfidence(alpha, threshold)
        found = exits(*seen, rule.threshold)
        points.append(Point(threshold, found.latency, found.accuracy(targets)))
    return tuple(points)


def pareto(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other one equals or beats in both numbers, by rising latency."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.latency, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return tuple(front)


def check_targets(outputs: Tensor, targets: Tensor) -> None:
    """Refuse targets that are not one class for each sample of the outputs."""
    check_outputs(outputs)
    if targets.shape != outputs.shape[1:2] or targets.is_floating_point():
        raise UserError(
            f"targets must be classes [B], one for each sample of outputs {list(outputs.shape)}, "
            f"got {targets.dtype} {list(targets.shape)}"
        )
    if bool(((targets < 0) | (targets >= outputs.shape[2])).any()):
        raise UserError(
            f"targets must be classes 0 to {outputs.shape[2] - 1}, of which outputs have values; "
            f"got {int(targets.min())} to {int(targets.max())}"
        )
