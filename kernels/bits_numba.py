"""Compiled loops over spikes and their bits; called through :mod:`spikesim.kernels.bits`.

Importing this module imports numba, so it is imported inside functions. Floats come as integers of
their size: there are no 16-bit floats here, and only zero or not matters. Legend: ``words`` are
unsigned, of ``S`` bits; bit ``k`` of ``words[j]`` stands for ``values[S j + k]``.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit


@njit(cache=True, nogil=True)
def pack_words(values, magnitude, words):
    """Set the bits of what is not zero; ``magnitude`` masks the sign off."""
    size = 8 * words.itemsize
    kind = words.dtype.type
    for j in range(words.size):
        word = kind(0)
        part = values[size * j : min(size * j + size, values.size)]
        # The same loop twice: of fixed length, it is vector code.
        if part.size == size:
            for k in range(size):
                word |= kind((part[k] & magnitude) != 0) << kind(k)
        else:
            for k in range(part.size):
                word |= kind((part[k] & magnitude) != 0) << kind(k)
        words[j] = word


@njit(cache=True, nogil=True)
def unpack_words(words, one, values):
    """Write ``one`` where a bit is set, else 0; with 16-bit values, fastest from 16-bit words."""
    size = 8 * words.itemsize
    kind = words.dtype.type
    zero = one - one
    for j in range(values.size // size):
        word = words[j]
        part = values[size * j : size * j + size]
        for k in range(size):
            part[k] = one if word & (kind(1) << kind(k)) else zero
    for i in range(values.size // size * size, values.size):
        values[i] = one if words[i // size] & (kind(1) << kind(i % size)) else zero
