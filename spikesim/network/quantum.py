"""Fixed-point input: the quantum of a receptor.

What arrives at a neuron in a step is summed in whole multiples of a quantum, so that the sum is the
same in any order: by any number of threads, on any device. The quantum is the smallest power of two
at which no sum can overflow: all synapses at once, the largest Poisson count, the largest current.
It is refused where it is too coarse for what arrives: the mean weight of a projection, and the
size of a drive, must be :data:`LEAST` quanta; of the weights of a projection that are not 0,
:data:`SHARE` at most may be below :data:`COARSE` quanta; and no neuron's whole input may be.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.kernels.engine import Ring, Whole

LEAST = 2**10
"""Quanta of a typical weight: rounding then moves it by less than 0.05 %."""
COARSE = 32
"""Quanta of a weight that rounding moves by up to 1/64 of it."""
SHARE = 1 / 20
"""Of weights that may be moved by more: those of a distribution that comes close to 0."""
NOISE = 2.0**-44
"""Inputs this far below another neuron's are what rounding of float64 leaves in place of 0."""

MARGIN = Fraction(1_000_001, 1_000_000)
"""Sums of floats are rounded themselves."""


class Sizes(NamedTuple):
    """Of the weights of a projection that are not 0."""

    share: float
    """Below ``COARSE`` quanta."""
    least: float
    most: float


def quantum(largest: float, count: float, bits: int) -> float:
    """The smallest power of two whose multiples hold a sum in ``bits`` bits, sign included.

    Args:
        largest: size of the sum, >= 0.
        count: values in the sum, each rounded by up to half a quantum.
        bits: 32 or 64.

    >>> quantum(1.0, 1, 32) == 2.0**-30
    True
    """
    limit = 2 ** (bits - 1) - 1 - math.ceil(count / 2)
    if limit <= 0:
        raise UserError(f"{count:g} values arrive in one step, more than {bits} bits can add up")
    # From -126 on float32 holds the quantum as a normal number.
    exponent = max(math.frexp(largest)[1] - bits, -126) if largest > 0 else 0
    while largest and Fraction(largest) * MARGIN > limit * Fraction(2) ** exponent:
        exponent += 1
    return 2.0**exponent


def check_resolution(
    where: str,
    sums: NDArray[np.float64],
    quantum: float,
    typical: Mapping[str, float],
    weights: Mapping[str, Sizes],
    bits: int,
) -> None:
    """Refuse a quantum that is too coarse for what arrives.

    Args:
        where: population and receptor, for the error.
        sums: the largest sum into each neuron.
        quantum: of the receptor.
        typical: of each projection and drive, the size of its weights.
        weights: of each projection whose weights differ.
        bits: 32 or 64.

    Raises:
        UserError: a size above 0 and below ``LEAST`` quanta, more than ``SHARE`` of the weights of
            a projection below ``COARSE``, or all that a neuron gets.
    """
    worst, reason = int(sums.argmax()), ""
    for name, size in typical.items():
        if 0 < size < LEAST * quantum:
            reason = f"{name!r} with weights of {size:.4g} (at least {LEAST} quanta)"
    for name, sizes in weights.items():
        if sizes.share > SHARE:
            reason = (
                f"{sizes.share:.2g} of the weights of {name!r}, which lie between "
                f"{sizes.least:.4g} and {sizes.most:.4g} in size (at least {COARSE} quanta)"
            )
    faint = (sums > NOISE * sums[worst]) & (sums < COARSE * quantum)
    if faint.any():
        neuron = int(faint.argmax())
        reason = f"neuron {neuron}, which gets up to {sums[neuron]:.4g} (at least {COARSE} quanta)"
    if reason:
        cure = "use dtype='float64', " if bits == 32 else ""
        raise UserError(
            f"{where} neuron {worst}: up to {sums[worst]:.4g} in one step needs a quantum of "
            f"{quantum:.4g}, too coarse for {reason}: {cure}bring the weights closer together, or "
            "set to 0 what does not matter"
        )


def quanta(values: ArrayLike, ring: Ring) -> Whole:
    """Values in whole quanta of a ring, rounded to the nearest, in its dtype."""
    whole = np.rint(np.asarray(values, np.float64) / ring.quantum)
    return whole.astype(np.int32) if ring.array.dtype == np.int32 else whole.astype(np.int64)
