"""The compiled loop over what enters a layer; called through :mod:`spikesim.kernels.tally`.

Importing this module imports numba, so it is imported inside functions. Floats come as integers of
their size: only whether they are 0, 1 or something else matters.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit


@njit(cache=True, nogil=True)
def count_rows(values, magnitude, one, counts):
    """Add to ``counts [F]`` what is not zero in ``values [rows, F]``; how many are not 0 or 1."""
    odd = 0
    for row in range(values.shape[0]):
        part = values[row]
        for k in range(part.size):
            active = (part[k] & magnitude) != 0
            counts[k] += active
            odd += active & (part[k] != one)
    return odd
