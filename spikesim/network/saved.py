"""States of networks that were saved: what is in them, and whether they belong here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.distributed_arrays import Division
from spikesim.network.given import whole
from spikesim.network.grid import LONGEST

Arrays = Mapping[str, NDArray[Any]]
LISTED = 3
"""Names in an error."""


def whole_state(
    step: int, facts: Mapping[str, float], arrays: Arrays, divisions: Mapping[str, Division]
) -> dict[str, Any]:
    """Copies of all arrays; of those divided among processes the whole ones.

    ``facts`` are numbers that are the same in each network that can take the state.
    """
    whole = {name: division.whole(arrays[name]) for name, division in divisions.items()}
    copies = {name: array.copy() for name, array in {**arrays, **whole}.items()}
    return {"step": np.array(step), **{k: np.array(v) for k, v in facts.items()}, **copies}


def put(
    state: Arrays,
    facts: Mapping[str, float],
    arrays: Arrays,
    divisions: Mapping[str, Division],
) -> int:
    """Copy a whole state into the arrays; returns its step.

    Raises:
        UserError: it is no state, or that of another network; nothing is changed then.
    """
    step = _checked(state, facts, arrays, divisions)
    for name, array in arrays.items():
        array[...] = divisions[name].own(state[name]) if name in divisions else state[name]
    return step


def _checked(
    state: Arrays,
    facts: Mapping[str, float],
    arrays: Arrays,
    divisions: Mapping[str, Division],
) -> int:
    if not isinstance(state, Mapping):
        raise UserError(f"a state is what state_dict() returned, got {type(state).__name__}")
    expected = {"step", *facts, *arrays}
    differ = {"lacks": expected - set(state), "has the unknown": set(state) - expected}
    reasons = [f"it {what} {_listed(names)}" for what, names in differ.items() if names]
    if not reasons:
        reasons = [
            f"its {name} is {state[name]}, here {fact}"
            for name, fact in facts.items()
            if not np.array_equal(state[name], fact)
        ]
    if not reasons:
        reasons = [*filter(None, (_unfit(state, *each, divisions) for each in arrays.items()))]
    if reasons:
        more = f", and {len(reasons) - LISTED} more differ" if len(reasons) > LISTED else ""
        raise UserError(f"this state is of another network: {', '.join(reasons[:LISTED])}{more}")
    step: Any = np.asarray(state["step"])
    return whole("the step of this state", step.item() if step.ndim == 0 else step, 0, LONGEST)


def _unfit(
    state: Arrays, name: str, array: NDArray[Any], divisions: Mapping[str, Division]
) -> str | None:
    """Why an array cannot be taken, if so."""
    given, shape = np.asarray(state[name]), array.shape
    if name in divisions:
        shape = divisions[name].shape(shape)
    if given.shape != shape or given.dtype != array.dtype:
        return f"{name!r} is {given.dtype} {list(given.shape)}, here {array.dtype} {list(shape)}"
    if name.endswith(".quantum") and given != array:
        return f"{name!r} is {given}, not {array}"
    return None


def _listed(names: set[str]) -> str:
    first = ", ".join(map(repr, sorted(names, key=str)[:LISTED]))
    return f"{first} and {len(names) - LISTED} more" if len(names) > LISTED else first
