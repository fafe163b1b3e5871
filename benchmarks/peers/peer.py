"""What the scripts of all simulators share: options, statistics, and the line of JSON they print.

Needs numpy and nothing else: every simulator runs in an environment of its own.

``cv_isi`` is the mean over neurons of the standard deviation of a neuron's intervals over their
mean, of neurons with three spikes or more; ``cpu_s`` is processor time of all threads while the
network runs, ``run_s`` wall-clock time, ``build_s`` everything before that but imports.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_SPIKES = 3


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of every script."""
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("--ms", type=float, default=1000.0, help="biological time")
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--spikes", type=Path, help="write indices and times (ms) to this .npz")
    return options


def coefficients(times: NDArray[Any], senders: NDArray[Any]) -> NDArray[np.float64]:
    """Coefficient of variation of the intervals of each neuron with three spikes or more."""
    order = np.lexsort((times, senders))
    times, senders = np.asarray(times, np.float64)[order], np.asarray(senders)[order]
    same = senders[1:] == senders[:-1]
    intervals, owner = np.diff(times)[same], senders[1:][same]
    counts = np.bincount(owner)
    enough = counts >= FEWEST_SPIKES - 1
    counts = np.maximum(counts, 1)
    means = np.bincount(owner, intervals) / counts
    variances = np.bincount(owner, (intervals - means[owner]) ** 2) / counts
    found: NDArray[np.float64] = np.sqrt(variances[enough]) / means[enough]
    return found


def finish(
    options: argparse.Namespace,
    *,
    network: str,
    simulator: str,
    version: str,
    neurons: int,
    synapses: int,
    times: NDArray[Any],
    senders: NDArray[Any],
    **more: Any,
) -> None:
    """Print the line, and write the spikes where asked.

    Args:
        options: what the script was called with.
        network: name of the network.
        simulator: name of the simulator.
        version: the simulator's version.
        neurons: number of neurons, all recorded.
        synapses: number of synapses between them.
        times: spike times, ms.
        senders: index of the neuron of each spike, from 0.
        more: seconds: ``build_s``, ``run_s``, ``cpu_s`` and what else a simulator tells.
    """
    cv = coefficients(times, senders)
    line = {
        "network": network,
        "simulator": simulator,
        "version": version,
        "neurons": neurons,
        "synapses": synapses,
        "biological_ms": options.ms,
        "scale": options.scale,
        "threads": options.threads,
        "seed": options.seed,
        **{name: round(x, 4) if isinstance(x, float) else x for name, x in more.items()},
        "spikes": len(times),
        "rate_hz": round(len(times) / neurons / options.ms * 1e3, 4),
        "cv_isi": round(float(cv.mean()), 4) if len(cv) else None,
    }
    if options.spikes:
        np.savez(options.spikes, index=np.asarray(senders, np.int32), time_ms=times)
    print(json.dumps(line))
