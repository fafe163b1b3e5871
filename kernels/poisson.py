"""Limits that turn a uniform 32-bit word into a Poisson count, by comparisons of integers.

A count is above ``k`` when the word is at least :math:`T_k = 2^{32} P(X \\le k)`, rounded: each
probability is right to :math:`2^{-32}`.
"""

import numpy as np
from numpy.typing import NDArray

FULL = 2**32
REACH = 8.0
"""Standard deviations around the mean beyond which no word leads, for large means."""
LARGEST = 1e6
"""A mean; the limits are some thousands there."""


def poisson_limits(means: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Limits for several means at a time.

    Args:
        means: ``[M]``, from 0 to :data:`LARGEST`.

    Returns:
        ``base [M]`` and ``limits [K, M]``: the count of a word is the base plus the number of
        limits that it exceeds; columns are filled up with limits that none exceeds.
    """
    spread = REACH * np.sqrt(means) + 24.0
    low = np.maximum(np.floor(means - spread), 0.0)
    k = low + np.arange(np.ceil((means + spread - low).max()))[:, None]  # [K, M]
    # From one k to the next ln p grows by ln(mean / k): small numbers near the mean, so that
    # their sums are exact enough for large means too.
    with np.errstate(divide="ignore"):
        growth = np.log(means) - np.log(np.maximum(k, 1.0))
    growth[0] = 0.0
    p = np.cumsum(growth, axis=0)
    p = np.exp(p - p.max(axis=0))
    share = np.cumsum(p, axis=0)
    share /= share[-1]
    thresholds = np.rint(FULL * share).astype(np.int64)
    zeros = (thresholds == 0).sum(axis=0)
    many = (thresholds < FULL).sum(axis=0) - zeros
    rows = np.minimum(np.arange(many.max())[:, None] + zeros, len(k) - 1)
    limits = np.take_along_axis(thresholds, rows, axis=0) - 1
    return low.astype(np.int64) + zeros, limits.astype(np.uint32)
