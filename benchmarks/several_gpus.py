"""Networks divided among GPUs, against one of them; rank 0 prints JSON.

    torchrun --nproc-per-node 2 benchmarks/several_gpus.py ms=1000 --out FILE

Brunel's network and the cortical microcircuit at ``scale``: whether the spikes are those of one
GPU, and seconds of a run without recording on all and on one. What an exchange of spikes takes by
itself is that of an all-gather of NCCL in a CUDA graph. Keys: ``ms`` of biological time, ``scale``,
``seed``, ``device``.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import keys
import numpy as np
import torch
import torch.distributed as dist

from spikesim.network import Network, distributed
from spikesim.network.distributed import undivided
from spikesim.network.recipes import brunel, microcircuit

KEYS: dict[str, Any] = {"ms": 1000.0, "scale": 1.0, "seed": 1, "device": "cuda"}
WARM_MS = 50.0
GATHERED, REPEATS = 2500, 100
"""int32 of each process, about the spikes of a step; exchanges in a graph."""
Make = Callable[[], Network]


def measured(given: dict[str, Any]) -> dict[str, Any]:
    """All rows; every process comes here."""
    with distributed(timeout=120.0) as world:
        if given["device"] == "cuda":
            torch.cuda.set_device(world.local_rank)
        own = {"scale": given["scale"], "seed": given["seed"], "device": given["device"]}
        recipes = {"Brunel": brunel, "microcircuit": microcircuit}
        found: dict[str, Any] = {**given, "gpus": world.size, "exchange_us": exchange_us()}
        found["rows"] = [
            {"row": name} | row(world, partial(make, **own), given["ms"])
            for name, make in recipes.items()
        ]
    return found


def row(world: Any, make: Make, ms: float) -> dict[str, Any]:
    """One network, divided and whole."""
    spikes, _ = run(make, ms, is_recorded=True)
    _, divided_s = run(make, ms, is_recorded=False)
    found: dict[str, Any] = {"divided_s": divided_s}
    if world.is_first:
        with undivided():
            alone, _ = run(make, ms, is_recorded=True)
            _, whole_s = run(make, ms, is_recorded=False)
        same = all(map(np.array_equal, spikes, alone))
        found |= {"whole_s": whole_s, "spikes": len(alone[0]), "same_spikes": same}
    world.wait()
    return found


def run(make: Make, ms: float, *, is_recorded: bool) -> tuple[tuple[Any, ...], float]:
    """Steps and neurons of all spikes, and seconds of the run after it was built."""
    net = make()
    probes = [net.probe(group, "spikes") for group in net.groups] if is_recorded else []
    net.run(WARM_MS)
    start = time.perf_counter()
    net.run(ms)
    seconds = time.perf_counter() - start
    trains = [probe.gather() for probe in probes]
    offsets = np.cumsum([0, *(len(probe.group) for probe in probes)])
    steps = np.concatenate([np.zeros(0), *(train.steps for train in trains)])
    neurons = [train.senders + first for train, first in zip(trains, offsets, strict=False)]
    del net
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return (steps, np.concatenate([np.zeros(0), *neurons])), seconds


def exchange_us() -> float | None:
    """Microseconds of an all-gather; ``None`` without GPUs."""
    if not torch.cuda.is_available():
        return None
    size = dist.get_world_size()
    group = dist.new_group(backend="nccl")
    own = torch.zeros(GATHERED, dtype=torch.int32, device="cuda")
    whole = torch.zeros(GATHERED * size, dtype=torch.int32, device="cuda")
    dist.all_gather_into_tensor(whole, own, group=group)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        for _ in range(REPEATS):
            dist.all_gather_into_tensor(whole, own, group=group)
    graph.replay()
    torch.cuda.synchronize()
    start = time.perf_counter()
    graph.replay()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / REPEATS * 1e6


def main() -> None:
    """Only the first process tells what was found."""
    if int(os.environ.get("RANK", "0")):
        given, _ = keys.parse(__doc__, KEYS)
        measured(given)
    else:
        keys.report(__doc__, "several_gpus", KEYS, measured)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # so that torchrun ends the others, which wait for this one
