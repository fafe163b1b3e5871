"""A circuit in NEST: run by its own interpreter, JSON in and out.

In: ``{model, parameters, count, dt, duration, trains, synapses}``: ``trains`` are times of spikes
(ms) of each source, ``synapses`` are ``[pre, post, weight, delay]`` with sources before neurons in
``pre``. Out: ``{v, times, senders}``: ``V_m`` of each neuron at ``dt``, ``2 dt``, ..., and spikes.
"""

import json
import sys
from typing import Any


def main() -> None:
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    print(json.dumps(run(nest, **json.load(sys.stdin))))


def run(
    nest: Any,
    model: str,
    parameters: dict[str, float],
    count: int,
    dt: float,
    duration: float,
    trains: list[list[float]],
    synapses: list[tuple[int, int, float, float]],
) -> dict[str, list[Any]]:
    nest.ResetKernel()
    nest.resolution = dt
    neurons = nest.Create(model, count, params=parameters)
    sources = [nest.Create("spike_generator", params={"spike_times": t}) for t in trains]
    senders = [*sources, *neurons]
    for pre, post, weight, delay in synapses:
        how = {"weight": weight, "delay": delay}
        nest.Connect(senders[pre], neurons[post], syn_spec=how)
    meters = []
    for neuron in neurons:
        meter = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": dt})
        nest.Connect(meter, neuron, syn_spec={"delay": dt})
        meters.append(meter)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Simulate(duration + dt)
    steps = round(duration / dt)
    first = neurons[0].global_id
    return {
        "v": [meter.events["V_m"][:steps].tolist() for meter in meters],
        "times": recorder.events["times"].tolist(),
        "senders": (recorder.events["senders"] - first).tolist(),
    }


if __name__ == "__main__":
    main()
