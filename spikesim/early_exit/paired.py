"""The difference of two accuracies on the same samples, with its interval."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from spikesim.errors import UserError


@dataclass(frozen=True)
class Difference:
    """Accuracy of one less that of another, and the ends of its interval."""

    value: float
    low: float
    high: float


def paired_difference(
    right: Tensor, reference: Tensor, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Difference:
    r"""Accuracy less that of a reference on the same samples, with its bootstrap interval.

    Samples are drawn again with replacement, each with both its answers. All that matters of a
    sample is whether one, the other or neither is better; the number of each in a draw of ``n``
    samples is multinomial.

    Args:
        right: whether each prediction is right, ``[n]``.
        reference: the same of what is compared with, ``[n]``.
        level: of the interval between percentiles, in (0, 1).
        draws: how often.
        seed: of the draws.

    Raises:
        UserError: sizes that differ, none, or a level outside (0, 1).

    Reference: Efron and Tibshirani (1993), *An introduction to the bootstrap*, chapter 13.

    >>> import torch
    >>> paired_difference(torch.tensor([True, True]), torch.tensor([True, True]))
    Difference(value=0.0, low=0.0, high=0.0)
    """
    if right.shape != reference.shape or right.dim() != 1 or not len(right):
        raise UserError(
            f"both must be [n] of the same samples, n >= 1, got {list(right.shape)} and "
            f"{list(reference.shape)}"
        )
    if not 0 < level < 1:
        raise UserError(f"level must be in (0, 1), got {level}")
    better = int((right & ~reference).sum())
    worse = int((reference & ~right).sum())
    n = len(right)
    shares = [better / n, worse / n, (n - better - worse) / n]
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=draws)
    ends = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [(1 - level) / 2, (1 + level) / 2])
    return Difference((better - worse) / n, float(ends[0]), float(ends[1]))
