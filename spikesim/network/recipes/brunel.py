"""Brunel's balanced network of excitatory and inhibitory neurons."""

from typing import Literal

from spikesim.errors import UserError, nearest
from spikesim.network.connect import FixedIndegree
from spikesim.network.network import Network
from spikesim.network.recipes.size import Dtype, scaled
from spikesim.neurons.lif_delta import LIFDelta

Regime = Literal["AI", "SR", "SI_fast", "SI_slow"]
REGIMES: dict[str, tuple[float, float]] = {
    "SR": (3.0, 2.0),
    "SI_fast": (6.0, 4.0),
    "AI": (5.0, 2.0),
    "SI_slow": (4.5, 0.9),
}
"""``g`` and ``eta`` of figure 8: synchronous regular, synchronous irregular with a fast or a slow
oscillation, asynchronous irregular."""

EXCITATORY, INHIBITORY = 10_000, 2_500
INDEGREES = (1_000, 250)
"""Excitatory and inhibitory synapses of each neuron: a tenth of all."""


def brunel(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.1,
    regime: Regime = "AI",
    g: float | None = None,
    eta: float | None = None,
    weight: float = 0.1,
    delay: float = 1.5,
    v_reset: float = 10.0,
) -> Network:
    r"""Sparsely connected LIF neurons with delta synapses, driven by Poisson spikes.

    Each of 12,500 neurons draws 1,000 excitatory and 250 inhibitory sources, the same one maybe
    twice, and gets Poisson spikes at :math:`\nu_\mathrm{ext} = \eta \theta / (J \tau)`;
    :math:`\tau` = 20 ms, :math:`\theta` = 20 mV, refractory for 2 ms. All start at 0 mV.

    Args:
        scale: number of neurons, against 12,500; in-degrees stay.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms.
        regime: ``g`` and ``eta`` of figure 8.
        g: inhibitory over excitatory weight; by default that of the regime.
        eta: external rate over the one that brings a neuron to threshold; by default that of the
            regime.
        weight: :math:`J`, mV.
        delay: ms.
        v_reset: mV; the paper's 10. NEST's example ``brunel_delta_nest.py`` has 0.

    Raises:
        UserError: an unknown regime, a weight that is not positive, or a scale of no neurons.

    Reference: N. Brunel (2000), Dynamics of sparsely connected networks of excitatory and
    inhibitory spiking neurons, J. Comput. Neurosci. 8, 183-208, model A.
    """
    if regime not in REGIMES:
        raise UserError(f"there is no regime {regime!r}{nearest(regime, list(REGIMES))}")
    if weight <= 0:
        raise UserError(f"weight must be > 0 mV, got {weight}")
    g, eta = (REGIMES[regime][i] if x is None else x for i, x in enumerate((g, eta)))
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    tau, threshold = 20.0, 20.0
    cell = LIFDelta(tau_m=tau, e_l=0.0, v_threshold=threshold, v_reset=v_reset, t_ref=2.0)
    excitatory = net.population(cell, scaled(EXCITATORY, scale), name="excitatory")
    inhibitory = net.population(cell, scaled(INHIBITORY, scale), name="inhibitory")
    rate = 1e3 * eta * threshold / (weight * tau)
    for target in (excitatory, inhibitory):
        net.poisson(target, rate=rate, weight=weight)
        for source, count, size in (
            (excitatory, INDEGREES[0], weight),
            (inhibitory, INDEGREES[1], -g * weight),
        ):
            net.connect(source, target, FixedIndegree(count), weight=size, delay=delay)
    return net
