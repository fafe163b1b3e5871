"""Brunel's network with STDP on a GPU: microseconds a step, against its static one; prints JSON.

    python benchmarks/plastic_gpu.py scale=1 seconds=1 --out FILE

Static, and with additive, multiplicative and power-law STDP between excitatory neurons. All four
stand at once and run in turns, without recording, so that their ratio is of the same run. Keys:
``scale`` of the number of neurons, ``seconds`` of biological time of a turn, ``repeats`` (turns),
``warm`` (biological seconds before), ``seed``, ``threads`` (that connect, where a GPU does not),
``device``.
"""

import statistics
import time
from typing import Any

import keys
import numpy as np
import torch
from microcircuit_gpu import rates
from peers.plastic_brunel import RULES, plastic_brunel
from torch.profiler import ProfilerActivity, profile

from spikesim.network import Network
from spikesim.network.plasticity.projection import PlasticProjection

KEYS: dict[str, Any] = {"scale": 1.0, "seconds": 1.0, "repeats": 3, "warm": 0.2}
KEYS |= {"seed": 1, "threads": 8, "device": "cuda"}
BAR = 3.0
"""At most so many times the static network."""
PROFILED_MS, LONGEST_KERNELS = 100.0, 8


def measured(given: dict[str, Any]) -> dict[str, Any]:
    """Build the networks, run them in turns, and describe them."""
    own = {key: given[key] for key in ("scale", "seed", "threads", "device")}
    rows: list[dict[str, Any]] = []
    nets = []
    for rule in RULES:
        before, began = held(given["device"]), time.perf_counter()
        net = plastic_brunel(rule=rule, **own)
        net.run(net.dt)
        row = {"rule": rule, "build_s": time.perf_counter() - began}
        net.run(round(1e3 * given["warm"] / net.dt) * net.dt)
        rows.append(row | {"held_bytes": held(given["device"]) - before})
        nets.append(net)
    turns = [[timed(net, given["seconds"]) for net in nets] for _ in range(given["repeats"])]
    times = list(zip(*turns, strict=True))
    static = statistics.median(times[0])
    for row, net, own_times in zip(rows, nets, times, strict=True):
        median = statistics.median(own_times)
        row["run_s"] = {"median": median, "all": own_times}
        row["us_per_step"] = 1e3 * median / given["seconds"] * net.dt
        row["times_static"] = median / static
        row["weights"] = weights(net)
        row["kernels"] = kernels(net)
        row["rates_hz"] = rates(net, net, given["seconds"])
    net = nets[0]
    sizes = {"neurons": net.neurons, "synapses": net.synapses, "plastic": len(net.projections[0])}
    return {**given, **sizes, "bar": BAR, "rows": rows}


def timed(net: Network, seconds: float) -> float:
    """Wall seconds of some more biological seconds."""
    start = time.perf_counter()
    net.run(1e3 * seconds)
    return time.perf_counter() - start


def held(device: str) -> int:
    """Bytes of the GPU in use."""
    place = torch.device(device)
    return torch.cuda.memory_allocated(place) if place.type == "cuda" else 0


def weights(net: Network) -> dict[str, float]:
    """Where the weights between excitatory neurons lie now, mV; nothing of a static network."""
    first = net.projections[0]
    if not isinstance(first, PlasticProjection):
        return {}
    w = first.weights().astype(np.float64)
    found = {"mean": w.mean(), "std": w.std(), "min": w.min(), "max": w.max()}
    return {name: float(value) for name, value in found.items()}


def kernels(net: Network) -> list[dict[str, Any]]:
    """The kernels that take the most of some more milliseconds; none without a GPU."""
    if net.device.type != "cuda":
        return []
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        net.run(PROFILED_MS)
    found = sorted(profiler.key_averages(), key=lambda e: -e.self_device_time_total)
    return [
        {"name": e.key, "calls": e.count, "us": e.self_device_time_total / e.count}
        for e in found[:LONGEST_KERNELS]
    ]


if __name__ == "__main__":
    keys.report(__doc__, "plastic_gpu", KEYS, measured)
