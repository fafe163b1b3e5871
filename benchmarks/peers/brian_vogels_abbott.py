"""The networks of Vogels and Abbott in Brian2, with currents (CUBA) or conductances (COBA).

T. P. Vogels, L. F. Abbott (2005), J. Neurosci. 25, 10786-10795, with the constants of benchmarks 1
and 2 of R. Brette et al. (2007), J. Comput. Neurosci. 23, 349-398, appendix 2, and a delay;
conductances by exponential Euler, as Brian's own example has it. ``--scale`` is the number of
neurons; the mean in-degree, 2 % of 4,000, stays.
"""

import brian2 as b
import brian_run
import peer

CUBA = """
dv/dt = (E_L - v + (g_e + g_i) / g_L) / tau_m : volt (unless refractory)
dg_e/dt = -g_e / tau_e : amp
dg_i/dt = -g_i / tau_i : amp
"""
COBA = """
dv/dt = (E_L - v + (g_e * (E_e - v) + g_i * (E_i - v)) / g_L) / tau_m : volt (unless refractory)
dg_e/dt = -g_e / tau_e : siemens
dg_i/dt = -g_i / tau_i : siemens
"""
NAMES = {
    "tau_m": 20 * b.ms,
    "tau_e": 5 * b.ms,
    "tau_i": 10 * b.ms,
    "g_L": 10 * b.nS,
    "E_e": 0 * b.mV,
    "E_i": -80 * b.mV,
    "V_t": -50 * b.mV,
    "V_r": -60 * b.mV,
}


def main() -> None:
    """Build, run, print."""
    options = peer.parser(__doc__)
    options.add_argument("--synapses", choices=("cuba", "coba"), default="cuba")
    options.add_argument("--delay", type=float, default=1.5, help="ms")
    chosen = options.parse_args()
    start = brian_run.begin(chosen, 0.1)
    count = round(4_000 * chosen.scale)
    if chosen.synapses == "cuba":
        equations, method, rest = CUBA, "exact", -49 * b.mV
        weights = {"w_e": 16.2 * b.pA, "w_i": -90 * b.pA}
    else:
        equations, method, rest = COBA, "exponential_euler", -60 * b.mV
        weights = {"w_e": 6 * b.nS, "w_i": 67 * b.nS}
    names = NAMES | weights | {"E_L": rest}
    neurons = b.NeuronGroup(
        count,
        equations,
        threshold="v >= V_t",
        reset="v = V_r",
        refractory=5 * b.ms,
        method=method,
        namespace=names,
    )
    if chosen.synapses == "cuba":
        neurons.v = "V_r + rand() * (V_t - V_r)"
    else:
        neurons.v = "(-65 + 5 * randn()) * mV"
        neurons.g_e = "(40 + 15 * randn()) * nS"
        neurons.g_i = "(200 + 120 * randn()) * nS"
    synapses = []
    for source, jump in (
        (neurons[: count * 4 // 5], "g_e_post += w_e"),
        (neurons[count * 4 // 5 :], "g_i_post += w_i"),
    ):
        wait = chosen.delay * b.ms
        connections = b.Synapses(source, neurons, on_pre=jump, delay=wait, namespace=names)
        connections.connect(p=0.02 / chosen.scale)
        synapses.append(connections)
    brian_run.finish(chosen, chosen.synapses, start, neurons, [], synapses)


if __name__ == "__main__":
    main()
