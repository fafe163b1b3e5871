"""The cortical microcircuit of Potjans and Diesmann on a GPU: seconds for a second; prints JSON.

    python benchmarks/microcircuit_gpu.py scale=1 seconds=10 --out FILE

Keys: ``scale`` of neurons and of inputs, ``seconds`` of biological time that are timed, ``warm`` of
those before, ``rates`` (seconds that are recorded afterwards, for the rates), ``batch`` of networks
of different seeds that run together, ``seed``, ``threads`` (that connect, where a GPU does not),
``device``. The run that is timed records nothing, and is bit for bit that of any other run.
"""

import time
from typing import Any

import keys
import numpy as np
import torch

from spikesim.network import Ensemble, Network, Population
from spikesim.network.recipes import microcircuit

KEYS: dict[str, Any] = {"scale": 1.0, "seconds": 10.0, "warm": 0.5, "rates": 1.0, "batch": 1}
KEYS |= {"seed": 1, "threads": 8, "device": "cuda"}
PUBLISHED = 0.272
"""Wall over biological time of the fastest GPU published (RTX 4090, GeNN)."""


def measured(given: dict[str, Any]) -> dict[str, Any]:
    """Build, run and describe the networks."""
    own = {key: given[key] for key in ("scale", "threads", "device")}
    began = time.perf_counter()
    nets = [microcircuit(seed=given["seed"] + k, **own) for k in range(given["batch"])]
    connected = time.perf_counter()
    net = nets[0]
    runner = net if len(nets) == 1 else Ensemble(nets)
    runner.run(net.dt)
    built = time.perf_counter()
    runner.run(round(1e3 * given["warm"] / net.dt) * net.dt)
    start = time.perf_counter()
    runner.run(1e3 * given["seconds"])
    run_s = time.perf_counter() - start
    return {
        **given,
        "neurons": sum(net.neurons for net in nets),
        "synapses": sum(net.synapses for net in nets),
        "connect_s": connected - began,
        "build_s": built - began,
        "run_s": run_s,
        "real_time_factor": run_s / given["seconds"],
        "biological_s_per_s": len(nets) * given["seconds"] / run_s,
        "us_per_step": 1e3 * run_s / given["seconds"] * net.dt,
        "published_real_time_factor": PUBLISHED,
        "memory_gib": memory(net) / 2**30,
        "rates_hz": rates(net, runner, given["rates"]),
    }


def rates(net: Network, runner: Network | Ensemble, seconds: float) -> dict[str, float]:
    """Mean rate of each population of a network over some more seconds, Hz."""
    groups = [group for group in net.groups if isinstance(group, Population)]
    probes = {group.name: net.probe(group, "rate") for group in groups}
    runner.run(1e3 * seconds)
    return {name: float(np.mean(probe.values)) for name, probe in probes.items()}


def memory(net: Network) -> int:
    """Bytes on the GPU at the most, builders' included."""
    return torch.cuda.max_memory_allocated(net.device) if net.device.type == "cuda" else 0


if __name__ == "__main__":
    keys.report(__doc__, "microcircuit_gpu", KEYS, measured)
