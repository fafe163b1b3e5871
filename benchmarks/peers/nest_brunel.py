"""Brunel's balanced network in NEST: ``iaf_psc_delta``, fixed in-degrees with multapses.

N. Brunel (2000), J. Comput. Neurosci. 8, 183-208, as NEST's example ``brunel_delta_nest.py`` has
it: g = 5, eta = 2, J = 0.1 mV, delay 1.5 ms. ``--scale`` is the number of neurons; in-degrees stay.
``--stdp``: synapses between excitatory neurons are ``stdp_synapse_hom``, the faster of NEST's two
synapses of this rule, multiplicative as in ``plastic_brunel.py``.
"""

import nest
import nest_run
import peer

TAU_M, THETA, J, G, ETA, DELAY = 20.0, 20.0, 0.1, 5.0, 2.0, 1.5
IN_DEGREE_E, IN_DEGREE_I = 1000, 250
TAU_STDP = 20.0
STDP = {"Wmax": 0.2, "lambda": 1e-3, "alpha": 1.0, "mu_plus": 1.0, "mu_minus": 1.0}


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--v-reset", type=float, default=10.0, help="mV")
    options.add_argument("--stdp", action="store_true", help="between excitatory neurons")
    chosen = options.parse_args()
    start = nest_run.begin(chosen, 0.1)
    cell = {"C_m": 1.0, "tau_m": TAU_M, "t_ref": 2.0, "E_L": 0.0, "V_m": 0.0, "V_th": THETA}
    cell |= {"V_reset": chosen.v_reset, "tau_minus": TAU_STDP}
    excitatory = nest.Create("iaf_psc_delta", round(10_000 * chosen.scale), params=cell)
    inhibitory = nest.Create("iaf_psc_delta", round(2_500 * chosen.scale), params=cell)
    nest.CopyModel("static_synapse_hom_w", "excitatory", {"weight": J, "delay": DELAY})
    nest.CopyModel("static_synapse_hom_w", "inhibitory", {"weight": -G * J, "delay": DELAY})
    rate = ETA * THETA / (J * TAU_M) * 1e3
    noise = nest.Create("poisson_generator", params={"rate": rate})
    neurons = excitatory + inhibitory
    nest.Connect(noise, neurons, syn_spec={"weight": J, "delay": DELAY})
    between = "excitatory"
    if chosen.stdp:
        between = "plastic"
        rule = STDP | {"tau_plus": TAU_STDP, "weight": J, "delay": DELAY}
        nest.CopyModel("stdp_synapse_hom", between, rule)
    for source, targets, model, count in (
        (excitatory, excitatory, between, IN_DEGREE_E),
        (excitatory, inhibitory, "excitatory", IN_DEGREE_E),
        (inhibitory, neurons, "inhibitory", IN_DEGREE_I),
    ):
        nest.Connect(source, targets, {"rule": "fixed_indegree", "indegree": count}, model)
    name = "brunel with stdp" if chosen.stdp else "brunel"
    nest_run.finish(chosen, name, start, [excitatory, inhibitory])


if __name__ == "__main__":
    main()
