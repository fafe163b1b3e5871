"""The microcircuit of Potjans and Diesmann in NEST, with Poisson input; numbers in ``potjans``."""

import nest
import nest_run
import numpy as np
import peer
import potjans

DT = 0.1


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--size", type=float, default=0.1, help="against the published one")
    chosen = options.parse_args()
    start = nest_run.begin(chosen, DT)
    circuit = potjans.circuit(chosen.size * chosen.scale)
    cell = {
        "C_m": potjans.C_M,
        "tau_m": potjans.TAU_M,
        "tau_syn_ex": potjans.TAU_SYN,
        "tau_syn_in": potjans.TAU_SYN,
        "t_ref": potjans.T_REF,
        "E_L": potjans.E_L,
        "V_th": potjans.V_TH,
        "V_reset": potjans.V_RESET,
    }
    populations = []
    for i, count in enumerate(circuit.neurons):
        population = nest.Create("iaf_psc_exp", count, params=cell | {"I_e": circuit.current[i]})
        population.V_m = nest.random.normal(potjans.V0_MEAN[i], potjans.V0_STD[i])
        noise = nest.Create("poisson_generator", params={"rate": circuit.external[i]})
        spec = {"weight": circuit.external_weight, "delay": potjans.DELAY_POISSON}
        nest.Connect(noise, population, syn_spec=spec)
        populations.append(population)
    nest.CopyModel("static_synapse", "recurrent")
    for i, target in enumerate(populations):
        for j, source in enumerate(populations):
            connect(source, target, circuit, (i, j))
    nest_run.finish(chosen, "microcircuit", start, populations)


def connect(
    source: object, target: object, circuit: potjans.Circuit, place: tuple[int, int]
) -> None:
    """One projection: normal weights that keep their sign, normal delays of a step or more."""
    if circuit.synapses[place] == 0:
        return
    weight, delay = circuit.weights[place], potjans.DELAYS[place[1] % 2]
    low, high = (0.0, np.inf) if weight > 0 else (-np.inf, 0.0)
    spread = nest.random.normal(weight, abs(weight) * potjans.WEIGHT_STD)
    wait = nest.random.normal(delay, delay * potjans.DELAY_STD)
    nest.Connect(
        source,
        target,
        {"rule": "fixed_total_number", "N": circuit.synapses[place]},
        {
            "synapse_model": "recurrent",
            "weight": nest.math.redraw(spread, min=low, max=high),
            "delay": nest.math.redraw(wait, min=DT / 2, max=np.inf),  # rounded to a step or more
        },
    )


if __name__ == "__main__":
    main()
