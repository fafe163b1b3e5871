"""Statistics of spike trains: rates, regularity and correlation."""

import numpy as np
from numpy.typing import NDArray

from spikesim.network.probe import SpikeProbe


def rates(probe: SpikeProbe) -> NDArray[np.float64]:
    """Mean rate of each neuron watched, Hz, ``[neurons]``."""
    counts = np.bincount(probe.senders, minlength=probe.group.size)[probe.neurons]
    return counts / max(probe.duration * 1e-3, probe.dt * 1e-3)


def cv_isi(probe: SpikeProbe, least: int = 3) -> NDArray[np.float64]:
    """Coefficient of variation of the intervals of each neuron watched, ``[neurons]``.

    1 for a Poisson train, 0 for a clock; NaN for neurons with fewer than ``least`` spikes.
    """
    order = np.argsort(probe.senders, kind="stable")
    who, steps = probe.senders[order], probe.steps[order]
    inside = who[1:] == who[:-1]
    who, interval = who[1:][inside], np.diff(steps)[inside].astype(float)
    size = probe.group.size
    count = np.bincount(who, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(who, interval, minlength=size) / count
        off = interval - mean[who]
        cv = np.sqrt(np.bincount(who, off * off, minlength=size) / count) / mean
    cv[count + 1 < max(least, 2)] = np.nan
    return cv[probe.neurons]


def correlation(probe: SpikeProbe, bin_ms: float = 5.0) -> NDArray[np.float64]:
    """Correlation coefficients of the spike counts of all pairs of neurons watched.

    Args:
        probe: of the ``n`` neurons to compare; all pairs are, so choose some hundred at most.
        bin_ms: width of a bin, ms, rounded to steps.

    Returns:
        ``[n (n - 1) / 2]``, without pairs of which one neuron has equal counts in all bins.
    """
    width = max(round(bin_ms / probe.dt), 1)
    bins = (probe.step - probe.first) // width
    place = np.full(probe.group.size, -1)
    place[probe.neurons] = np.arange(probe.neurons.size)
    when = (probe.steps - probe.first) // width
    kept = when < bins
    counts = np.zeros((probe.neurons.size, bins))
    np.add.at(counts, (place[probe.senders[kept]], when[kept]), 1.0)
    counts = counts[np.ptp(counts, 1) > 0] if bins else counts[:0]
    if len(counts) < 2:
        return np.zeros(0)
    pairs: NDArray[np.float64] = np.corrcoef(counts)[np.triu_indices(len(counts), 1)]
    return pairs
