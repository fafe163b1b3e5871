"""Brunel's network with plastic synapses between its excitatory neurons.

The recipe ``brunel`` in its asynchronous irregular regime, drawn by the same calls in the same
order: without a rule it is that network bit for bit.
"""

from spikesim.network import FixedIndegree, Network
from spikesim.network.plasticity import PairSTDP
from spikesim.neurons import LIFDelta

RULES: dict[str, PairSTDP | None] = {
    "static": None,
    "additive": PairSTDP(w_max=0.2, rate=1e-3, mu_plus=0.0, mu_minus=0.0),
    "multiplicative": PairSTDP(w_max=0.2, rate=1e-3, mu_plus=1.0, mu_minus=1.0),
    "power law": PairSTDP(w_max=0.2, rate=1e-3, mu_plus=0.4, mu_minus=0.4),
}
"""Potentiation equals depression at the weight that all have first, half the largest."""


def plastic_brunel(
    *,
    rule: str = "multiplicative",
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> Network:
    """The network; ``rule`` is one of ``RULES``, the rest as in the recipe.

    Its first projection is the plastic one.
    """
    net = Network(dt=0.1, seed=seed, threads=threads, device=device)
    cell = LIFDelta(tau_m=20.0, e_l=0.0, v_threshold=20.0, v_reset=10.0, t_ref=2.0)
    excitatory = net.population(cell, round(10_000 * scale), name="excitatory")
    inhibitory = net.population(cell, round(2_500 * scale), name="inhibitory")
    for target in (excitatory, inhibitory):
        net.poisson(target, rate=20_000.0, weight=0.1)
        plasticity = RULES[rule] if target is excitatory else None
        net.connect(
            excitatory, target, FixedIndegree(1000), weight=0.1, delay=1.5, plasticity=plasticity
        )
        net.connect(inhibitory, target, FixedIndegree(250), weight=-0.5, delay=1.5)
    return net
