"""Brunel's balanced network in Brian2: delta synapses, fixed in-degrees with multapses.

N. Brunel (2000), J. Comput. Neurosci. 8, 183-208, with g = 5, eta = 2, J = 0.1 mV, delay 1.5 ms.
What arrives in the refractory time is lost, as in the paper and in NEST's ``iaf_psc_delta``.
``--scale`` is the number of neurons; in-degrees stay.
"""

import brian2 as b
import brian_run
import peer

IN_DEGREE_E, IN_DEGREE_I = 1000, 250
ETA = 2.0


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--v-reset", type=float, default=10.0, help="mV")
    chosen = options.parse_args()
    start = brian_run.begin(chosen, 0.1)
    tau, theta, weight = 20 * b.ms, 20 * b.mV, 0.1 * b.mV
    names = {"tau": tau, "theta": theta, "J": weight, "g": 5.0, "V_r": chosen.v_reset * b.mV}
    excitatory = round(10_000 * chosen.scale)
    neurons = b.NeuronGroup(
        excitatory + round(2_500 * chosen.scale),
        "dv/dt = -v / tau : volt (unless refractory)",
        threshold="v >= theta",
        reset="v = V_r",
        refractory=2 * b.ms,
        method="exact",
        namespace=names,
    )
    rate = ETA * theta / (weight * IN_DEGREE_E * tau)
    weight_now = "J * int(not_refractory)"
    names_of_input = b.PoissonInput(neurons, "v", IN_DEGREE_E, rate, weight=weight_now)
    synapses = []
    for source, jump, count in (
        (neurons[:excitatory], "J", IN_DEGREE_E),
        (neurons[excitatory:], "-g * J", IN_DEGREE_I),
    ):
        connections = b.Synapses(
            source,
            neurons,
            on_pre=f"v_post += {jump} * int(not_refractory_post)",
            delay=1.5 * b.ms,
            namespace=names,
        )
        connections.connect(i=f"int(rand() * N_pre) for _ in range({count})")
        synapses.append(connections)
    brian_run.finish(chosen, "brunel", start, neurons, [names_of_input], synapses)


if __name__ == "__main__":
    main()
