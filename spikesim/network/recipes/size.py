"""Sizes of recipes."""

from typing import Literal

from spikesim.errors import UserError
from spikesim.network.given import probability

Dtype = Literal["float32", "float64"]


def scaled(count: int, scale: float, least: int = 1) -> int:
    """``count * scale``, rounded.

    Raises:
        UserError: ``scale`` is not positive, or leaves fewer than ``least``.
    """
    if not 0 < scale < float("inf"):
        raise UserError(f"scale must be > 0 and finite, got {scale}")
    size = round(count * scale)
    if size < least:
        raise UserError(f"scale = {scale:g} leaves {size} of {count}; at least {least} are needed")
    return size


def check_connected(p: float) -> None:
    """Refuse a probability of synapses whose weights are divided by it.

    Raises:
        UserError: it is not above 0, or no probability.
    """
    if not probability(p) > 0:
        raise UserError(f"p must be > 0, got {p}")
