"""Weighted sums of a population's state, which act back on neurons while a network runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from spikesim.kernels.engine import Cells, Ring


@dataclass(eq=False)
class Feedback:
    """What sums of step ``n`` add to a ring in step ``n + delay``."""

    ring: "Ring"
    weight: NDArray[np.float64]
    """``[sums, neurons]``, of the ring, in its unit."""
    delay: int
    """Steps, at least the block."""
    largest: float
    """A sum is fed back as what of it lies within this of 0."""


@dataclass(eq=False)
class Sums:
    """Weighted sums of a state after each step."""

    cells: "Cells"
    state: str
    """Among the traces of the cells."""
    weight: NDArray[np.float64]
    """``[sums, cells]``; changed in place."""
    values: NDArray[np.float64]
    """``[steps, sums]``; another may be put here between two runs."""
    first: int = 0
    """The step of row 0."""
    feedback: Feedback | None = None
