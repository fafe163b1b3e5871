r"""Exact integration of linear membranes over a step (Rotter & Diesmann, 1999).

Every propagator is an exponential times one of two smooth functions,

.. math::
    \varphi(x) = \int_0^1 e^{sx} ds = \frac{e^x - 1}{x}, \qquad
    \varphi'(x) = \int_0^1 s e^{sx} ds = \frac{e^x - \varphi(x)}{x},

of the difference of two rates, so that nothing is singular where two time constants meet, and
no digits are lost near it. All functions take numbers, arrays, and values of a tape.
"""

import math

from spikesim.ops import absolute, exp, where
from spikesim.types import Number

_SERIES = [1.0 / (math.factorial(n) * (n + 2)) for n in range(19)]
"""Of :math:`\\varphi'`: the next term is below 1e-17 for arguments up to 1."""


def phi(x: Number) -> tuple[Number, Number]:
    r""":math:`\varphi(x)` and :math:`\varphi'(x)`, to a few units in the last place."""
    is_small = absolute(x) < 1.0
    # Each form sees arguments of its own range only: 0 / 0 in the other would spoil gradients.
    small, large = where(is_small, x, 0.0), where(is_small, 1.0, x)
    slope = _SERIES[-1]
    for coefficient in _SERIES[-2::-1]:
        slope = slope * small + coefficient
    e = exp(large)
    mean = (e - 1.0) / large
    return (
        where(is_small, exp(small) - small * slope, mean),
        where(is_small, slope, (e - mean) / large),
    )


def decay(dt: float, tau: Number) -> Number:
    r""":math:`e^{-dt/\tau}`, what is left of an exponential after a step."""
    left: Number = exp(-dt / tau)
    return left


def loss(dt: float, tau: Number) -> Number:
    r""":math:`1 - e^{-dt/\tau}`, what is lost of it, without cancellation for long ``tau``."""
    x = -dt / tau
    return -x * phi(x)[0]


def from_constant(dt: float, tau_m: Number, c_m: Number) -> Number:
    r"""mV from 1 pA: :math:`\tau_m (1 - e^{-dt/\tau_m}) / C`."""
    return dt / c_m * phi(-dt / tau_m)[0]


def from_exponential(dt: float, tau_m: Number, tau_s: Number, c_m: Number) -> Number:
    r"""mV from 1 pA that decays: :math:`\int_0^{dt} e^{-(dt - s)/\tau_m} e^{-s/\tau_s} ds / C`."""
    _, slower, mean, _ = _of_two(dt / tau_m, dt / tau_s)
    return dt / c_m * slower * mean


def from_alpha(dt: float, tau_m: Number, tau_s: Number, c_m: Number) -> Number:
    r"""mV from 1 pA/ms: :math:`\int_0^{dt} e^{-(dt - s)/\tau_m} s e^{-s/\tau_s} ds / C`."""
    is_quick, slower, mean, slope = _of_two(dt / tau_m, dt / tau_s)
    moment: Number = where(is_quick, mean - slope, slope)
    return dt * dt / c_m * slower * moment


def _of_two(a: Number, b: Number) -> tuple[Number, Number, Number, Number]:
    r"""Whether :math:`a > b`; :math:`e^{-m}` of the smaller; :math:`\varphi, \varphi'` of the rest.

    The rest is :math:`-|a - b|`: no exponential grows.
    """
    is_quick = a > b
    difference = a - b
    mean, slope = phi(where(is_quick, -difference, difference))
    return is_quick, exp(-where(is_quick, b, a)), mean, slope
