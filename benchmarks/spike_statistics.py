"""Whether two simulators make the same spikes, by the distributions of three statistics.

Of each neuron its rate and the variation of its intervals, of pairs of neurons the correlation of
their counts; the distance of two distributions is that of Kolmogorov and Smirnov, the largest
between the two cumulative ones.
"""

import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent / "peers"))
from peer import coefficients

BIN_MS = 5.0
SAMPLE = 300
"""Neurons whose pairs are correlated."""

Values = NDArray[np.float64]


def statistics(
    times: Values, senders: NDArray[np.int32], neurons: int, ms: float, first: float = 0.0
) -> dict[str, Values]:
    """The three samples, of spikes after ``first`` ms.

    Args:
        times: of spikes, ms.
        senders: the neuron of each.
        neurons: how many there are.
        ms: when the recording ended.
        first: what came before is left out, ms.
    """
    kept = times > first
    times, senders = times[kept], senders[kept]
    return {
        "rate": np.bincount(senders, minlength=neurons) * 1e3 / (ms - first),
        "cv": coefficients(times, senders),
        "correlation": correlations(times, senders, neurons, ms, first),
    }


def correlations(
    times: Values, senders: NDArray[np.int32], neurons: int, ms: float, first: float
) -> Values:
    """Of all pairs of some neurons that spike: the correlation of their counts in bins of 5 ms."""
    chosen = np.random.default_rng(0).permutation(neurons)[:SAMPLE]
    place = np.full(neurons, -1)
    place[chosen] = np.arange(len(chosen))
    row = place[senders]
    among = row >= 0
    bins = int((ms - first) / BIN_MS)
    column = np.minimum(((times[among] - first) / BIN_MS).astype(int), bins - 1)
    counts = np.bincount(row[among] * bins + column, minlength=len(chosen) * bins)
    counts = counts.reshape(len(chosen), bins)
    alive = counts[counts.std(1) > 0]
    if len(alive) < 2:
        return np.zeros(0)
    matrix = np.corrcoef(alive)
    return matrix[np.triu_indices(len(alive), 1)]


def distance(a: Values, b: Values) -> float:
    """Of Kolmogorov and Smirnov; 1 where only one of the samples is empty.

    >>> distance(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    if not len(a) or not len(b):
        return float(len(a) != len(b))
    points = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), points, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def compare(
    ours: list[dict[str, Values]], peers: list[dict[str, Values]]
) -> dict[str, dict[str, float]]:
    """For each statistic, of the distances between our runs and a peer's the median, and the
    largest between two of the peer's."""
    found = {}
    for name in ours[0]:
        to_peer = np.median([distance(a[name], b[name]) for a, b in product(ours, peers)])
        within = max(distance(a[name], b[name]) for a, b in combinations(peers, 2))
        found[name] = {"to_peer": round(float(to_peer), 4), "within_peer": round(within, 4)}
    return found


def of_file(path: Path, neurons: int, ms: float, first: float = 0.0) -> dict[str, Values]:
    """The samples of spikes that a script wrote."""
    with np.load(path) as file:
        return statistics(file["time_ms"], file["index"], neurons, ms, first)
