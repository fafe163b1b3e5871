"""The gates of the squid axon (Hodgkin & Huxley, 1952)."""

from spikesim.ops import absolute, exp, maximum, tanh
from spikesim.types import Number


def rates(v: Number) -> dict[str, tuple[Number, Number]]:
    """Opening and closing rates, 1/ms, of the gates ``m``, ``h`` and ``n`` at ``v`` mV."""
    return {
        "m": (_rise((v + 40.0) * 0.1), 4.0 * exp((v + 65.0) * (-1.0 / 18.0))),
        "h": (0.07 * exp((v + 65.0) * -0.05), 1.0 / (1.0 + exp((v + 35.0) * -0.1))),
        "n": (0.1 * _rise((v + 55.0) * 0.1), 0.125 * exp((v + 65.0) * -0.0125)),
    }


def _rise(x: Number) -> Number:
    """``x / (1 - exp(-x))``, as ``h + h / tanh(h)`` with ``h = x / 2``: no digit is lost near 0."""
    half = 0.5 * x
    size = maximum(absolute(half), 1e-7)
    risen: Number = half + size / tanh(size)
    return risen
