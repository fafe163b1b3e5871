"""``exp``, ``log`` and ``tanh`` of a float32 for numba kernels: the bits of ``cuda/maths.cuh``.

Without a branch or a call, so that a loop over an array vectorises. For float64 use :mod:`math`.
Importing this module imports numba, so it is imported inside functions.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit
from numpy import float32, int32

_HALF, _ONE, _TWO = float32(0.5), float32(1.0), float32(2.0)
_LOG2E, _LN2_HIGH, _LN2_LOW = float32(1.44269502), float32(0.693145752), float32(1.42860677e-06)
_SHIFT, _SHIFT_BITS = float32(12582912.0), int32(0x4B400000)  # 1.5 * 2^23
_SQRT_HALF, _MANTISSA = int32(0x3F3504F3), int32(0x7FFFFF)


@njit(cache=True, error_model="numpy", forceinline=True)
def exp_(x):
    """The exponential of a float32, within 1.02 units in the last place."""
    y = float32(-104.0) if x < float32(-104.0) else x
    y = float32(89.0) if y > float32(89.0) else y
    shifted = y * _LOG2E + _SHIFT
    n = shifted - _SHIFT
    r = y - n * _LN2_HIGH - n * _LN2_LOW
    p = float32(0.00139504916) * r + float32(0.0083688898)
    p = p * r + float32(0.041666206)
    p = p * r + float32(0.166665182)
    p = p * r + _HALF
    e = r * r * p + r + _ONE
    whole = int32(float32(shifted).view(int32) - _SHIFT_BITS)
    half = int32(whole >> int32(1))
    rest = int32(whole - half)
    first = int32((half + int32(127)) << int32(23)).view(float32)
    return e * first * int32((rest + int32(127)) << int32(23)).view(float32)


@njit(cache=True, error_model="numpy", forceinline=True)
def log_(x):
    """The natural logarithm of a float32, within 0.86 units in the last place."""
    is_subnormal = x < float32(1.17549435e-38)
    scaled = x * float32(8388608.0) if is_subnormal else x
    bits = int32(float32(scaled).view(int32) - _SQRT_HALF)
    n = float32(int32((bits >> int32(23)) - (int32(23) if is_subnormal else int32(0))))
    f = int32((bits & _MANTISSA) + _SQRT_HALF).view(float32) - _ONE
    p = float32(-0.076344952) * f + float32(0.12761575)
    p = p * f + float32(-0.131601825)
    p = p * f + float32(0.142017588)
    p = p * f + float32(-0.166233569)
    p = p * f + float32(0.200012267)
    p = p * f + float32(-0.250008196)
    p = p * f + float32(0.333333313)
    square = f * f
    tail = f * square * p + n * _LN2_LOW
    result = tail - square * _HALF + f + n * _LN2_HIGH
    result = result if x > float32(0.0) else float32(np.nan)
    result = float32(-np.inf) if x == float32(0.0) else result
    return x if x == float32(np.inf) else result


@njit(cache=True, error_model="numpy", forceinline=True)
def tanh_(x):
    """The hyperbolic tangent of a float32, within 1.34 units in the last place."""
    size = -x if x < float32(0.0) else x
    square = x * x
    p = float32(-0.00570498779) * square + float32(0.020639088)
    p = p * square + float32(-0.0537397154)
    p = p * square + float32(0.133314416)
    p = p * square + float32(-0.333332807)
    small = x * (square * p + _ONE)
    large = _ONE - _TWO / (exp_(size + size) + _ONE)
    signed = -large if x < float32(0.0) else large
    return small if size < float32(0.625) else signed
