"""Izhikevich's network of 2003 in NEST, in his half steps of 1 ms, at any size.

E. M. Izhikevich (2003), IEEE Trans. Neural Netw. 14, 1569-1572, figure 3: 1,000 neurons, all to
all, thalamic noise. With fewer synapses than that per neuron (``--indegree``) weights are larger
by as much, so that the mean input stays.
"""

import nest
import nest_run
import numpy as np
import peer


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--neurons", type=int, default=1_000)
    options.add_argument("--indegree", type=int, default=0, help="0: all to all")
    chosen = options.parse_args()
    start = nest_run.begin(chosen, 1.0)
    nest.SetDefaults("izhikevich", {"consistent_integration": False})
    random = np.random.default_rng(chosen.seed)
    count = round(chosen.neurons * chosen.scale)
    many, few = count * 4 // 5, count - count * 4 // 5
    r, q = random.random(many), random.random(few)
    excitatory = nest.Create("izhikevich", many, params={"a": 0.02, "b": 0.2})
    excitatory.set(c=-65 + 15 * r**2, d=8 - 6 * r**2, V_m=-65.0, U_m=0.2 * -65.0)
    inhibitory = nest.Create("izhikevich", few, params={"c": -65.0, "d": 2.0})
    b = 0.25 - 0.05 * q
    inhibitory.set(a=0.02 + 0.08 * q, b=b, V_m=-65.0, U_m=b * -65.0)
    stronger = 1_000 / (chosen.indegree or count)
    for source, weight, std in ((excitatory, 0.5, 5.0), (inhibitory, -1.0, 2.0)):
        rule = {"rule": "all_to_all"}
        if chosen.indegree:
            part = round(chosen.indegree * len(source) / count)
            rule = {"rule": "fixed_indegree", "indegree": part}
        low, high = sorted((0.0, weight * stronger))
        nest.CopyModel("static_synapse", f"of {len(source)}", {"delay": 1.0})
        spec = {"synapse_model": f"of {len(source)}", "weight": nest.random.uniform(low, high)}
        nest.Connect(source, excitatory + inhibitory, rule, spec)
        noise = nest.Create("noise_generator", params={"std": std, "dt": 1.0})
        nest.Connect(noise, source)
    nest_run.finish(
        chosen, f"izhikevich {count} x {chosen.indegree or count}", start, [excitatory, inhibitory]
    )


if __name__ == "__main__":
    main()
