"""Points of the yin-yang sign: a small set that no shallow network classifies well."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.errors import UserError

RADIUS, DOT = 0.5, 0.1


def yin_yang(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Points ``[count, 2]`` within a circle in the unit square, and their classes ``[count]``.

    Classes are 0 (yang), 1 (yin) and 2 (the two dots), each a third of the points; a class is
    uniform over its area.

    Args:
        count: a multiple of 3.
        seed: of the points.

    Reference: L. Kriener, J. Göltz & M. A. Petrovici (2022), *The Yin-Yang dataset*, NICE. Theirs
    draws the class of each point; here all are equally many.

    >>> points, classes = yin_yang(300, seed=0)
    >>> points.shape, classes.bincount().tolist()
    (torch.Size([300, 2]), [100, 100, 100])
    """
    if count < 3 or count % 3:
        raise UserError(f"count must be a positive multiple of 3, got {count}")
    random = np.random.default_rng(seed)
    points, classes = np.empty((count, 2)), np.arange(count) % 3
    for each in range(3):
        (places,) = np.nonzero(classes == each)
        found = np.empty((0, 2))
        while len(found) < len(places):
            drawn = random.random((64 * count, 2))
            inside = np.hypot(*(drawn - RADIUS).T) <= RADIUS
            found = np.concatenate((found, drawn[inside & (_classes(drawn) == each)]))
        points[places] = found[: len(places)]
    return torch.from_numpy(points), torch.from_numpy(classes)


def _classes(points: NDArray[np.float64]) -> NDArray[np.int64]:
    x, y = points.T
    right, left = np.hypot(x - 1.5 * RADIUS, y - RADIUS), np.hypot(x - 0.5 * RADIUS, y - RADIUS)
    yin = (
        (right <= DOT)
        | ((left > DOT) & (left <= 0.5 * RADIUS))
        | ((y > RADIUS) & (right > 0.5 * RADIUS))
    )
    return np.where((right < DOT) | (left < DOT), 2, yin.astype(np.int64))
