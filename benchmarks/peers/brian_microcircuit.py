"""The microcircuit of Potjans and Diesmann in Brian2, with Poisson input; numbers in ``potjans``.

Both receptors have one time constant, so that one current holds the input of both.
"""

import brian2 as b
import brian_run
import numpy as np
import peer
import potjans
from numpy.typing import NDArray

DT = 0.1
MODEL = """
dv/dt = (E_L - v) / tau_m + (I_syn + I_e) / C_m : volt (unless refractory)
dI_syn/dt = -I_syn / tau_syn : amp
I_e : amp (constant)
arrivals : 1 (constant)
"""


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--size", type=float, default=0.1, help="against the published one")
    chosen = options.parse_args()
    start = brian_run.begin(chosen, DT)
    random = np.random.default_rng(chosen.seed)
    circuit = potjans.circuit(chosen.size * chosen.scale)
    names = {
        "tau_m": potjans.TAU_M * b.ms,
        "tau_syn": potjans.TAU_SYN * b.ms,
        "C_m": potjans.C_M * b.pF,
        "E_L": potjans.E_L * b.mV,
        "V_th": potjans.V_TH * b.mV,
        "V_r": potjans.V_RESET * b.mV,
        "w_ext": circuit.external_weight * b.pA,
    }
    owner = np.repeat(np.arange(8), circuit.neurons)
    neurons = b.NeuronGroup(
        len(owner),
        MODEL,
        threshold="v >= V_th",
        reset="v = V_r",
        refractory=potjans.T_REF * b.ms,
        method="exact",
        namespace=names,
    )
    neurons.run_regularly("I_syn += w_ext * poisson(arrivals)", when="synapses")
    neurons.v = random.normal(potjans.V0_MEAN[owner], potjans.V0_STD[owner]) * b.mV
    neurons.I_e = circuit.current[owner] * b.pA
    neurons.arrivals = circuit.external[owner] * DT * 1e-3
    source, target, weight, delay = synapses_of(circuit, random)
    connections = b.Synapses(neurons, neurons, "w : amp", on_pre="I_syn_post += w")
    connections.connect(i=source, j=target)
    connections.w = weight * b.pA
    connections.delay = delay * b.ms
    brian_run.finish(chosen, "microcircuit", start, neurons, [], [connections])


def synapses_of(
    circuit: potjans.Circuit, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Sources, targets, weights (pA) and delays (ms) of all synapses."""
    first = np.concatenate([[0], np.cumsum(circuit.neurons)])
    parts = []
    for (i, j), count in np.ndenumerate(circuit.synapses):
        mean, wait = circuit.weights[i, j], potjans.DELAYS[j % 2]
        weight = np.abs(redrawn(random, abs(mean), potjans.WEIGHT_STD, count, 0.0))
        delay = redrawn(random, wait, potjans.DELAY_STD, count, DT / 2)
        source = first[j] + random.integers(circuit.neurons[j], size=count)
        target = first[i] + random.integers(circuit.neurons[i], size=count)
        parts.append((source, target, np.sign(mean) * weight, np.maximum(DT, delay)))
    source, target, weight, delay = map(np.concatenate, zip(*parts, strict=True))
    return source, target, weight, delay


def redrawn(
    random: np.random.Generator, mean: float, std: float, count: int, low: float
) -> NDArray[np.float64]:
    """Normal with a standard deviation relative to the mean, drawn again where below ``low``."""
    found = random.normal(mean, std * mean, count)
    while (below := found < low).any():
        found[below] = random.normal(mean, std * mean, below.sum())
    return found


if __name__ == "__main__":
    main()
