"""The cortical microcircuit of Potjans and Diesmann on a GPU: seconds for a second; prints JSON.

    python benchmarks/microcircuit_gpu.py scale=1 seconds=10 --out FILE

Keys: ``scale`` of neurons and of inputs, ``seconds`` of biological time that are timed, ``warm`` of
those before, ``rates`` (seconds that are recorded afterwards, for the rates), ``batch`` of networks
of different seeds that run together, ``seed``, ``threads`` (that connect, where a GPU does not),
``device``. The run that is timed records nothing, and is bit for bit that of any other run.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keep
import machine
import numpy as np
import torch

from spikesim.network import Ensemble, Network, Population
from spikesim.network.recipes import microcircuit

KEYS: dict[str, Any] = {"scale": 1.0, "seconds": 10.0, "warm": 0.5, "rates": 1.0, "batch": 1}
KEYS |= {"seed": 1, "threads": 8, "device": "cuda"}
PUBLISHED = 0.272
"""Wall over biological time of the fastest GPU published (RTX 4090, GeNN)."""


def measured(keys: dict[str, Any]) -> dict[str, Any]:
    """Build, run and describe the networks."""
    own = {key: keys[key] for key in ("scale", "threads", "device")}
    began = time.perf_counter()
    nets = [microcircuit(seed=keys["seed"] + k, **own) for k in range(keys["batch"])]
    connected = time.perf_counter()
    net = nets[0]
    runner = net if len(nets) == 1 else Ensemble(nets)
    runner.run(net.dt)
    built = time.perf_counter()
    runner.run(round(1e3 * keys["warm"] / net.dt) * net.dt)
    start = time.perf_counter()
    runner.run(1e3 * keys["seconds"])
    run_s = time.perf_counter() - start
    return {
        **keys,
        "neurons": sum(net.neurons for net in nets),
        "synapses": sum(net.synapses for net in nets),
        "connect_s": connected - began,
        "build_s": built - began,
        "run_s": run_s,
        "real_time_factor": run_s / keys["seconds"],
        "biological_s_per_s": len(nets) * keys["seconds"] / run_s,
        "us_per_step": 1e3 * run_s / keys["seconds"] * net.dt,
        "published_real_time_factor": PUBLISHED,
        "memory_gib": memory(net) / 2**30,
        "rates_hz": rates(net, runner, keys["rates"]),
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


def main() -> None:
    """Measure, print, and keep."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("keys", nargs="*", metavar="KEY=VALUE")
    options.add_argument("--out", type=Path, help="keep the JSON here")
    given = options.parse_args()
    keys: dict[str, Any] = dict(KEYS)
    for text in given.keys:
        key, _, value = text.partition("=")
        if key not in KEYS:
            raise SystemExit(f"unknown key {key!r}; there are {', '.join(KEYS)}")
        try:
            keys[key] = type(KEYS[key])(value)
        except ValueError:
            raise SystemExit(f"{key} is no {type(KEYS[key]).__name__}: {value!r}") from None
    figures = measured(keys)
    device = torch.device(keys["device"])
    report = {
        "benchmark": "microcircuit_gpu",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": device.type,
        "machine": machine.describe(device),
        "versions": machine.versions(),
        **figures,
    }
    keep.save(report, given.out)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
