"""What a run of a network leaves, to be compared bit for bit."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesim.network import Network


class Outcome(NamedTuple):
    """Of the first two populations the spikes, ``[2, spikes]`` each, and all weights at the end."""

    trains: list[NDArray[Any]]
    weights: list[NDArray[Any]]


def outcome(
    net: Network, *parts: float, between: Callable[[Network], Any] | None = None
) -> Outcome:
    """Of a run in parts, ms; ``between`` is called after each."""
    probes = [net.probe(group, "spikes") for group in net.groups[:2]]
    for ms in parts:
        net.run(ms)
        if between is not None:
            between(net)
    trains = [np.stack([probe.steps, probe.senders]) for probe in probes]
    return Outcome(trains, [projection.table()["weight"] for projection in net.projections])


def same(one: Outcome, two: Outcome) -> bool:
    return same_arrays(one.trains, two.trains) and same_arrays(one.weights, two.weights)


def same_arrays(one: Sequence[NDArray[Any]], two: Sequence[NDArray[Any]]) -> bool:
    return len(one) == len(two) and all(map(np.array_equal, one, two))
