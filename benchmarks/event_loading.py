"""How fast recordings become batches, and how fast a recipe's training uses them; prints JSON.

``python benchmarks/event_loading.py [--dataset nmnist] [--root FOLDER] [--recipe nmnist-tiny]``.
All on one core: torch and numba are held to one thread, and the loader runs in this process. Times
are processor time of this process, so that other programs on the machine hardly count.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import numba
import numpy as np
import torch
from machine import processor
from torch.utils.data import DataLoader

import spikesim
from spikesim import datasets
from spikesim.datasets import PRESETS, Augment
from spikesim.datasets.pack import pack
from spikesim.kernels.events import Warps, bin_events, identity_warp
from spikesim.train.config import Config
from spikesim.train.data import load_training
from spikesim.train.run import Task, build_model
from spikesim.train.step import Stepper
from spikesim.world import World

ALL = Augment(flip=0.5, roll=3, rotate=15, shear=15, scale=0.1, cutout=8, drop=0.5)
POLICIES = {"none": None, "flip-roll": PRESETS["flip-roll"], "nda": PRESETS["nda"], "all": ALL}


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Processor time of each of ``repeats`` calls, after one that compiles and touches memory."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return times


def rates(count: int, times: list[float], digits: int) -> dict[str, float]:
    """Median and best number per second."""
    return {
        "median": round(count / statistics.median(times), digits),
        "best": round(count / min(times), digits),
    }


def loop_only(data: datasets.EventDataset, warps: Warps, repeats: int) -> list[float]:
    """The compiled loop on one batch that is in memory, with fresh zeroed frames."""
    batch = [data.events(i) for i in range(len(data))]
    packed = [pack(events, data.sensor_size, "r")[0] for events in batch]
    offsets = np.cumsum([0, *map(len, packed)])
    events, start = np.concatenate(packed), np.zeros(len(data), np.int64)
    span = np.array([e[-1] >> np.uint64(32) for e in packed], np.int64)
    shape = (data.steps, len(data), *data.frame_shape)

    def work() -> None:
        out = np.zeros(shape, np.float32)
        bin_events(events, offsets, start, span, out=out, sensor=data.sensor_size[:2], warps=warps)

    return seconds(work, repeats)


def epochs_of(data: datasets.EventDataset, batch: int, repeats: int) -> list[float]:
    """Whole epochs of a loader in this process."""
    loader = DataLoader(data, batch, shuffle=True, collate_fn=datasets.collate)
    return seconds(lambda: sum(1 for _ in loader), repeats)


def against_training(recipe: str, repeats: int) -> dict[str, object]:
    """Samples per second that the loader of a recipe gives and that its training uses."""
    config = Config.load(recipe)
    data, _ = load_training(config)
    model = build_model(config, Task.of(data))
    stepper = Stepper(model, config.train, torch.device("cpu"), World())
    size = config.data.batch_size
    batch = data.__getitems__(range(size))
    steps = seconds(lambda: stepper.step([batch], 0, 0, config.train.lr), repeats)
    loader = rates(len(data), epochs_of(data, size, repeats), 0)
    training = rates(size, steps, 1)
    cores = os.cpu_count() or 1
    return {
        "recipe": recipe,
        "loader_samples_per_second_one_core": loader,
        "training_samples_per_second_one_core": training,
        # as if training ran on all cores without any loss, at its fastest
        "loader_over_training_on_all_cores": round(loader["median"] / training["best"] / cores, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="nmnist")
    parser.add_argument("--root")
    parser.add_argument("--recipe", default="nmnist-tiny")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)

    start = time.perf_counter()
    plain = datasets.load(options.dataset, root=options.root, steps=options.steps)
    loading = time.perf_counter() - start
    indices = list(range(0, len(plain), max(1, len(plain) // options.batch)))[: options.batch]
    some = plain.subset(indices)
    report: dict[str, object] = {
        "benchmark": "event_loading",
        "dataset": options.dataset,
        "samples": len(plain),
        "events_per_sample": round(float(plain.counts.mean()), 1),
        "frames": [options.steps, *plain.frame_shape],
        "batch": options.batch,
        "load_seconds": round(loading, 3),
        "loop_million_events_per_second": {},
        "batch_million_events_per_second": {},
        "loader_samples_per_second": {},
        "against_training": against_training(options.recipe, options.repeats),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "threads_used": 1},
        "versions": {
            "spikesim": spikesim.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
    }
    events = int(some.counts.sum())
    for name, augment in POLICIES.items():
        data = datasets.load(
            options.dataset, root=options.root, steps=options.steps, augment=augment
        )
        warps = augment.draw(0, 0, range(len(some)), data.frame_shape[1:]) if augment else None
        loop = loop_only(some, identity_warp() if warps is None else warps, 10 * options.repeats)
        whole = seconds(lambda d=data: d.__getitems__(indices), 10 * options.repeats)
        epochs = epochs_of(data, options.batch, options.repeats)
        million = events / 1e6
        report["loop_million_events_per_second"][name] = rates(million, loop, 1)
        report["batch_million_events_per_second"][name] = rates(million, whole, 1)
        report["loader_samples_per_second"][name] = rates(len(data), epochs, 0)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
