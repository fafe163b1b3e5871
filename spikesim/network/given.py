"""What users give, as numbers: read in one way everywhere, and refused in words."""

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from spikesim.errors import UserError

__all__ = ["check_held", "per_neuron", "probability", "real", "reals", "whole"]


def reals(name: str, given: ArrayLike, when: str = "") -> NDArray[np.float64]:
    """Finite numbers of any shape, in float64, from numbers, arrays or tensors.

    Args:
        name: what they are.
        given: by the user.
        when: behind ``name`` in an error, such as ``" at 3 ms"``.

    Raises:
        UserError: text, objects, lists of unequal length, complex or infinite numbers.
    """
    try:
        if isinstance(given, Tensor):
            given = given.double() if given.is_floating_point() else given
            found = given.numpy(force=True)
        else:
            found = np.asarray(given)
    except (TypeError, ValueError):  # lists of unequal length
        found = np.empty(0, object)
    if found.dtype.kind not in "biuf":
        raise UserError(f"{name} must be numbers of one shape{when}, got {_shown(given)}")
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        place = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        at = str(list(place)) if place else ""
        raise UserError(f"{name}{at} must be finite{when}, got {values[place]}")
    return values


def real(name: str, given: float, wish: str = "a finite number", *, finite: bool = True) -> float:
    """One number.

    Raises:
        UserError: anything else, and an infinite one if it must be ``finite``; ``wish`` says what
            was asked for.
    """
    found = math.nan
    if not isinstance(given, bool | str | bytes):
        with suppress(TypeError, ValueError, OverflowError):
            found = float(given)
    if math.isnan(found) or (finite and math.isinf(found)):
        raise UserError(f"{name} must be {wish}, got {_shown(given)}")
    return found


def probability(given: float) -> float:
    """A number ``p`` between 0 and 1.

    Raises:
        UserError: anything else.
    """
    wish = "a probability between 0 and 1"
    found = real("p", given, wish)
    if not 0.0 <= found <= 1.0:
        raise UserError(f"p must be {wish}, got {found:g}")
    return found


def whole(name: str, given: int, least: int, most: int | None = None) -> int:
    """A whole number of ``least`` or more.

    Raises:
        UserError: anything else.
    """
    is_whole = isinstance(given, int | np.integer) and not isinstance(given, bool)
    if not is_whole or given < least or (most is not None and given > most):
        wish = f">= {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"{name} must be a whole number {wish}, got {_shown(given)}")
    return int(given)


def per_neuron(
    name: str, given: ArrayLike, shape: tuple[int, ...], when: str = ""
) -> NDArray[np.float64]:
    """One value ``[]``, or one for each neuron of a ``shape``, as ``[neurons]``.

    Raises:
        UserError: another shape, or what :func:`reals` refuses.
    """
    values, size = reals(name, given, when), math.prod(shape)
    if values.shape == shape:
        return values.reshape(-1)
    if values.shape not in ((), (size,)):
        each = f" or one for each of the {size} neurons" if size > 1 else ""
        raise UserError(f"{name} gives shape {list(values.shape)}{when}; give one value{each}")
    return values


def check_held(name: str, values: ArrayLike, dtype: np.dtype[Any]) -> None:
    """Refuse numbers that a dtype cannot hold, as infinite or all as 0.

    Raises:
        UserError: names the largest.
    """
    largest, held = float(np.max(np.abs(values), initial=0.0)), np.finfo(dtype)
    most, least = float(held.max), float(held.tiny)
    if largest > most or 0 < largest < least:
        cure = "use dtype='float64'" if dtype == np.float32 else "choose other units"
        much = "more" if largest > most else "less"
        raise UserError(f"{name} reaches {largest:.4g}, {much} than {dtype} holds: {cure}")


def _shown(given: object) -> str:
    """In one line."""
    text = " ".join(repr(given).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
