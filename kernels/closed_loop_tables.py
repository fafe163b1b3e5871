"""The tables of weighted sums and their feedback.

Importing this module imports numba, so it is imported inside functions.
"""

import numpy as np

from spikesim.kernels.closed_loop import Sums
from spikesim.kernels.closed_loop_numba import feedback, sums
from spikesim.kernels.engine_rows import Row, row_of


def rows(operation: Sums, block: int) -> list[Row]:
    """The sums of a block, and their way back."""
    trace, many = operation.cells.traces[operation.state], len(operation.weight)
    values, first = operation.values, operation.first
    given = (trace, trace.shape[1], block - 1, operation.weight, many, values, first)
    found = [row_of(sums(trace.dtype.name), *given)]
    if (back := operation.feedback) is not None:
        ring, quanta = back.ring.array, back.weight / back.ring.quantum
        slots, neurons = ring.shape
        to = ring, neurons, slots - 1, back.delay
        how = values, many, first, quanta, np.array([back.largest])
        found.append(row_of(feedback(ring.dtype.name), *to, *how))
    for row in found:
        row.is_alone = True
    return found
