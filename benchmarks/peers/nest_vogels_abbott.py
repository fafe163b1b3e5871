"""The networks of Vogels and Abbott in NEST, with currents (CUBA) or conductances (COBA).

T. P. Vogels, L. F. Abbott (2005), J. Neurosci. 25, 10786-10795, with the constants of benchmarks 1
and 2 of R. Brette et al. (2007), J. Comput. Neurosci. 23, 349-398, appendix 2, and a delay.
``--scale`` is the number of neurons; the mean in-degree, 2 % of 4,000, stays.
"""

import nest
import nest_run
import peer

CELL = {"V_th": -50.0, "V_reset": -60.0, "C_m": 200.0, "t_ref": 5.0}
SYNAPSES = {"tau_syn_ex": 5.0, "tau_syn_in": 10.0}


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--synapses", choices=("cuba", "coba"), default="cuba")
    options.add_argument("--delay", type=float, default=1.5, help="ms")
    chosen = options.parse_args()
    start = nest_run.begin(chosen, 0.1)
    if chosen.synapses == "cuba":
        model, weights = "iaf_psc_exp", (16.2, -90.0)  # pA: 0.27 nS x 60 mV, 4.5 nS x -20 mV
        cell = CELL | SYNAPSES | {"E_L": -49.0, "tau_m": 20.0}
        first = {"V_m": nest.random.uniform(-60.0, -50.0)}
    else:
        model, weights = "iaf_cond_exp", (6.0, -67.0)  # nS
        cell = CELL | SYNAPSES | {"E_L": -60.0, "g_L": 10.0, "E_ex": 0.0, "E_in": -80.0}
        first = {
            "V_m": nest.random.normal(-65.0, 5.0),
            "g_ex": nest.random.normal(40.0, 15.0),
            "g_in": nest.random.normal(200.0, 120.0),
        }
    count = round(4_000 * chosen.scale)
    neurons = nest.Create(model, count, params=cell)
    neurons.set(first)
    excitatory, inhibitory = neurons[: count * 4 // 5], neurons[count * 4 // 5 :]
    for source, name, weight in (
        (excitatory, "excitatory", weights[0]),
        (inhibitory, "inhibitory", weights[1]),
    ):
        nest.CopyModel("static_synapse_hom_w", name, {"weight": weight, "delay": chosen.delay})
        rule = {"rule": "pairwise_bernoulli", "p": 0.02 / chosen.scale, "allow_autapses": False}
        nest.Connect(source, neurons, rule, name)
    nest_run.finish(chosen, chosen.synapses, start, [excitatory, inhibitory])


if __name__ == "__main__":
    main()
