"""What the printed numba loops do with a row of scratch memory, beside the step itself.

Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

from numba import njit
from numpy import uint64

from spikesim.kernels.memory_numba import (
    apart,
    copy,
    least,
    load_uint64,
    prefetch_to_read,
    prefetch_to_write,
    read,
    store_uint8,
    store_uint32,
    write,
)

LINE = 64
"""Bytes of a line of the cache."""


@njit(cache=True, nogil=True, error_model="numpy")
def fill(zero, row, array, inner, size, first, n):
    """Write ``array[((first + i) // inner) % size]`` for ``i < n``; ``zero`` says of what type."""
    apart()
    k = first // inner % size
    left = inner - first % inner
    i = 0
    while i < n:
        if inner == 1:
            length = least(size - k, n - i)
            copy(zero, row, i, array, k, length)
            k = 0
        else:
            length = least(left, n - i)
            value = read(zero, array, k)
            for j in range(i, i + length):
                write(row, j, value)
            left = inner
            k += 1
            if k == size:
                k = 0
        i += length


@njit(cache=True, forceinline=True)
def announce_reads(address, size):
    """Fetch ``size`` bytes into the cache; rows are too short for the processor to do it itself."""
    for i in range(0, size, LINE):
        prefetch_to_read(address + i)


@njit(cache=True, forceinline=True)
def announce_writes(address, size):
    """Claim ``size`` bytes for the cache."""
    for i in range(0, size, LINE):
        prefetch_to_write(address + i)


@njit(cache=True, nogil=True, error_model="numpy")
def pack(flags, n, words):
    """Write the flags, a byte each, as bits of whole 32-bit words."""
    apart()
    for i in range(n, (n + 31) // 32 * 32):
        store_uint8(flags, i, 0)
    for i in range((n + 31) // 32 * 4):
        # The product puts the lowest bits of 8 flags side by side into the top byte.
        bits = load_uint64(flags, i) * uint64(0x0102040810204080) >> uint64(56)
        store_uint8(words, i, bits)


@njit(cache=True, nogil=True, error_model="numpy")
def place(elements, samples, first, n, sample_size, channels):
    """For each neuron its sample, and its element there in logical order, channels outermost."""
    apart()
    for i in range(n):
        element = (first + i) % sample_size
        inside = element % channels * (sample_size // channels) + element // channels
        store_uint32(elements, i, inside)
        store_uint32(samples, i, (first + i) // sample_size)
