"""Brian2, C++ standalone: set up, compile, run, count."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import brian2 as b
import numpy as np
import peer

BEFORE = """
const std::clock_t cpu_begun = std::clock();
const auto wall_begun = std::chrono::steady_clock::now();
"""
AFTER = """
{
    const double cpu = double(std::clock() - cpu_begun) / CLOCKS_PER_SEC;
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - wall_begun;
    std::ofstream("seconds.txt") << cpu << " " << wall.count();
}
"""


def begin(options: argparse.Namespace, dt: float) -> float:
    """Ready for objects; the time at which building starts. ``dt`` in ms."""
    b.set_device("cpp_standalone", build_on_run=False)
    b.prefs.codegen.cpp.headers += ["<ctime>", "<chrono>", "<fstream>"]
    if options.threads > 1:
        b.prefs.devices.cpp_standalone.openmp_threads = options.threads
    b.defaultclock.dt = dt * b.ms
    b.seed(options.seed)
    return time.perf_counter()


def finish(
    options: argparse.Namespace,
    network: str,
    start: float,
    neurons: b.NeuronGroup,
    objects: list[Any],
    synapses: list[b.Synapses],
) -> None:
    """Record all neurons, generate, compile, run, and print the line."""
    spikes = b.SpikeMonitor(neurons)
    net = b.Network(neurons, spikes, *objects, *synapses)
    device = b.get_device()
    device.insert_code("main", BEFORE)
    net.run(options.ms * b.ms)
    device.insert_code("main", AFTER)
    with tempfile.TemporaryDirectory() as folder:
        device.build(directory=folder, compile=True, run=True)
        cpu_s, run_s = map(float, (Path(folder) / "seconds.txt").read_text().split())
        peer.finish(
            options,
            network=network,
            simulator="Brian2",
            version=b.__version__,
            neurons=len(neurons),
            synapses=sum(len(connections) for connections in synapses),
            times=np.asarray(spikes.t / b.ms),
            senders=np.asarray(spikes.i),
            build_s=time.perf_counter() - start - run_s,
            compile_s=float(device.timers["compile"]["make"]),
            run_s=run_s,
            cpu_s=cpu_s,
        )
