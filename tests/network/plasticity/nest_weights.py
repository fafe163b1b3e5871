"""Run by NEST's interpreter: reads cases as JSON, prints spikes and weights of each as JSON."""

import json
import sys

import nest


def weights(case: dict) -> dict:
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR if hasattr(nest, "VerbosityLevel") else "M_ERROR"
    nest.resolution = case["dt"]
    sides = []
    for name in ("pre", "post"):
        trains = case[name]
        parrots = nest.Create("parrot_neuron", len(trains), case.get(f"{name}_parameters", {}))
        for parrot, times in zip(parrots, trains, strict=True):
            generator = nest.Create("spike_generator", params={"spike_times": times})
            nest.Connect(generator, parrot, syn_spec={"delay": case["dt"]})
        recorder = nest.Create("spike_recorder")
        nest.Connect(parrots, recorder)
        sides.append((parrots, recorder))
    (pre, heard_pre), (post, heard_post) = sides
    # Receptor 1 of a parrot hears spikes without repeating them.
    synapse = {"synapse_model": case["model"], "receptor_type": 1, **case["parameters"]}
    nest.Connect(pre, post, "all_to_all", synapse)
    nest.Simulate(case["duration"])
    found = [[None] * len(post) for _ in pre]
    for connection in nest.GetConnections(pre, post):
        j, i = connection.source - pre[0].global_id, connection.target - post[0].global_id
        found[j][i] = connection.weight
    spikes = {}
    for name, neurons, recorder in (("pre", pre, heard_pre), ("post", post, heard_post)):
        events = recorder.events
        pairs = list(zip(events["times"], events["senders"], strict=True))
        spikes[name] = [[float(t) for t, s in pairs if s == n.global_id] for n in neurons]
    return {"weights": found, **spikes}


json.dump([weights(case) for case in json.loads(sys.stdin.read())], sys.stdout)
print()
