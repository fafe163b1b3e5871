"""The random numbers of :mod:`spikesim.random` for numba kernels, bit for bit.

Draws ``2 i`` and ``2 i + 1`` of a step share a block::

    a, b, c, d = philox(seed & MASK, seed >> 32, element, sample, step, (layer << 8) + i)

of which the even one takes ``uniform(a, b)`` or ``normal(a, b)``, the odd one the same of ``c, d``.
Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import float32, int32, uint64

from spikesim.kernels.maths_numba import log_

MASK = uint64(0xFFFFFFFF)
_HIGH = uint64(32)
_M0, _M1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
_W0, _W1 = uint64(0x9E3779B9), uint64(0xBB67AE85)
_UNIT = float32(2.0**-24)


@njit(cache=True, forceinline=True)
def philox(key_0, key_1, element, sample, step, last):
    """Philox4x32-10 (Salmon et al., 2011): four words as uint64; arguments are cut to 32 bits."""
    a, b, c, d = uint64(element) & MASK, uint64(sample) & MASK, uint64(step) & MASK, uint64(last)
    k, m = uint64(key_0) & MASK, uint64(key_1) & MASK
    for _ in range(10):
        ab = a * _M0
        cd = c * _M1
        a, b = (cd >> _HIGH) ^ b ^ k, cd & MASK
        c, d = (ab >> _HIGH) ^ d ^ m, ab & MASK
        k, m = (k + _W0) & MASK, (m + _W1) & MASK
    return a, b, c, d


@njit(cache=True, forceinline=True)
def uniform(a, b):
    """Uniform float32 in [0, 1), a multiple of 2**-24, of the words of a draw."""
    return float32(int32(a >> uint64(8))) * _UNIT


@njit(cache=True, forceinline=True)
def normal(a, b):
    """Standard normal float32 of the words of a draw (Box & Muller, 1958)."""
    radius = np.sqrt(log_(uniform(a, b) + _UNIT) * float32(-2.0))
    u = uniform(b, a) - float32(0.5)
    w = (-u if u < float32(0.0) else u) - float32(0.25)
    square = w * w
    p = float32(39.7700996) * square + float32(-76.5834351)
    p = p * square + float32(81.6026306)
    p = p * square + float32(-41.3416862)
    return radius * (w * float32(6.28318548) + w * square * p)
