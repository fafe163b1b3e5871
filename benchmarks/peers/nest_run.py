"""NEST: set up, run, count."""

import argparse
import time
from typing import Any

import nest
import numpy as np
import peer


def begin(options: argparse.Namespace, dt: float) -> float:
    """An empty kernel; the time at which building starts."""
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.resolution = dt
    nest.local_num_threads = options.threads
    nest.rng_seed = options.seed
    return time.perf_counter()


def finish(options: argparse.Namespace, network: str, start: float, populations: list[Any]) -> None:
    """Record ``populations``, in the order of their making, run, and print the line."""
    neurons = populations[0]
    for population in populations[1:]:
        neurons = neurons + population
    synapses = between_neurons()
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Prepare()
    begun, cpu = time.perf_counter(), time.process_time()
    nest.Run(options.ms)
    cpu_s, run_s = time.process_time() - cpu, time.perf_counter() - begun
    nest.Cleanup()
    events = recorder.events
    peer.finish(
        options,
        network=network,
        simulator="NEST",
        version=nest.__version__,
        neurons=len(neurons),
        synapses=synapses,
        times=np.asarray(events["times"]),
        senders=np.searchsorted(neurons.global_id, events["senders"]),
        build_s=begun - start,
        run_s=run_s,
        cpu_s=cpu_s,
    )


def between_neurons() -> int:
    """Synapses that exist now, less those of devices, which are of the default model."""
    total: int = nest.num_connections
    of_devices: int = nest.GetDefaults("static_synapse")["num_connections"]
    return total - of_devices
