"""Izhikevich's network of 2003 in Brian2, in his half steps of 1 ms, at any size.

E. M. Izhikevich (2003), IEEE Trans. Neural Netw. 14, 1569-1572, figure 3: 1,000 neurons, all to
all, thalamic noise. With fewer synapses than that per neuron (``--indegree``) weights are larger
by as much, so that the mean input stays. A spike acts in the step after it.
"""

import brian2 as b
import brian_run
import numpy as np
import peer

MODEL = """
v : 1
u : 1
arrived : 1
I : 1
a : 1 (constant)
b : 1 (constant)
c : 1 (constant)
d : 1 (constant)
noise : 1 (constant)
"""
STEP = """
I = noise * randn() + arrived
arrived = 0
v += 0.5 * (0.04 * v**2 + 5 * v + 140 - u + I)
v += 0.5 * (0.04 * v**2 + 5 * v + 140 - u + I)
u += a * (b * v - u)
"""


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--neurons", type=int, default=1_000)
    options.add_argument("--indegree", type=int, default=0, help="0: all to all")
    chosen = options.parse_args()
    start = brian_run.begin(chosen, 1.0)
    random = np.random.default_rng(chosen.seed)
    count = round(chosen.neurons * chosen.scale)
    many, few = count * 4 // 5, count - count * 4 // 5
    r, q = random.random(many), random.random(few)
    neurons = b.NeuronGroup(count, MODEL, threshold="v >= 30", reset="v = c\nu += d")
    neurons.run_regularly(STEP, when="groups")
    neurons.a = np.concatenate([np.full(many, 0.02), 0.02 + 0.08 * q])
    neurons.b = np.concatenate([np.full(many, 0.2), 0.25 - 0.05 * q])
    neurons.c = np.concatenate([-65 + 15 * r**2, np.full(few, -65.0)])
    neurons.d = np.concatenate([8 - 6 * r**2, np.full(few, 2.0)])
    neurons.noise = np.concatenate([np.full(many, 5.0), np.full(few, 2.0)])
    neurons.v = -65
    neurons.u = "b * v"
    stronger = 1_000 / (chosen.indegree or count)
    synapses = []
    for source, weight in ((neurons[:many], 0.5), (neurons[many:], -1.0)):
        connections = b.Synapses(source, neurons, "w : 1", on_pre="arrived_post += w")
        if chosen.indegree:
            part = round(chosen.indegree * len(source) / count)
            connections.connect(i=f"int(rand() * N_pre) for _ in range({part})")
        else:
            connections.connect()
        connections.w = f"{weight * stronger} * rand()"
        synapses.append(connections)
    name = f"izhikevich {count} x {chosen.indegree or count}"
    brian_run.finish(chosen, name, start, neurons, [], synapses)


if __name__ == "__main__":
    main()
