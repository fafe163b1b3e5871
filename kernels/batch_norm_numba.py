"""Compiled loops of batch norm; called through :mod:`spikesim.kernels.batch_norm`.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def channel_moments(x, first, end, mean, variance):
    """Mean and variance of channels ``first`` to ``end`` of ``x`` ``[outer, channels, inner]``.

    Sums are of differences to one of the values: sum(x^2) - n mean^2 cancels where the mean is
    large. Those of a row are in its own precision and may be vector code, all others 64 bits wide.
    """
    for c in range(first, end):
        shift = x[0, c, 0]
        total, squares = 0.0, 0.0
        for n in range(x.shape[0]):
            of_row = shift - shift
            squares_of_row = of_row
            for i in range(x.shape[2]):
                d = x[n, c, i] - shift
                of_row += d
                squares_of_row += d * d
            total += of_row
            squares += squares_of_row
        count = x.shape[0] * x.shape[2]
        mean[c] = shift + total / count
        variance[c] = max(squares - total * total / count, 0.0) / count


@njit(cache=True, nogil=True)
def add_channels_last(dx, x, mean, slope, offset):
    """``dx += offset + slope * (x - mean)`` for arrays ``[outer, channels]``."""
    for n in range(dx.shape[0]):
        for c in range(dx.shape[1]):
            dx[n, c] += offset[c] + slope[c] * (x[n, c] - mean[c])


@njit(cache=True, nogil=True)
def add_channels_first(dx, x, mean, slope, offset):
    """The same for arrays ``[outer, channels, inner]``."""
    for n in range(dx.shape[0]):
        for c in range(dx.shape[1]):
            centre, factor, summand = mean[c], slope[c], offset[c]
            for i in range(dx.shape[2]):
                dx[n, c, i] += summand + factor * (x[n, c, i] - centre)
