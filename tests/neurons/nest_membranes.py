"""Membrane traces of NEST: run by its own interpreter, JSON in and out.

In: a list of ``{model, parameters, dt, duration, times, weights}`` (ms, of input spikes as they
arrive). Out: for each ``{v, spikes}``: ``V_m`` at ``dt``, ``2 dt``, ..., and times of spikes, ms.
"""

import json
import sys
from typing import Any


def main() -> None:
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    print(json.dumps([run(nest, **case) for case in json.load(sys.stdin)]))


def run(
    nest: Any,
    model: str,
    parameters: dict[str, float],
    dt: float,
    duration: float,
    times: list[float],
    weights: list[float],
) -> dict[str, list[float]]:
    nest.ResetKernel()
    nest.resolution = dt
    neuron = nest.Create(model, params=parameters)
    # The connection takes a step.
    sent = [round(t - dt, 6) for t in times]
    source = nest.Create("spike_generator", params={"spike_times": sent, "spike_weights": weights})
    nest.Connect(source, neuron, syn_spec={"delay": dt})
    meter = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": dt})
    nest.Connect(meter, neuron, syn_spec={"delay": dt})
    recorder = nest.Create("spike_recorder")
    nest.Connect(neuron, recorder)
    nest.Simulate(duration + dt)
    return {
        "v": meter.events["V_m"][: round(duration / dt)].tolist(),
        "spikes": recorder.events["times"].tolist(),
    }


if __name__ == "__main__":
    main()
