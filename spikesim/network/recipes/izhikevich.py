"""Izhikevich's network of 2003."""

import numpy as np
import torch

from spikesim.errors import UserError
from spikesim.network.connect import AllToAll, FixedIndegree
from spikesim.network.network import Network
from spikesim.network.population import Population
from spikesim.network.recipes.size import Dtype, scaled
from spikesim.network.values import Uniform
from spikesim.neurons.izhikevich import Izhikevich
from spikesim.seeds import key

EXCITATORY, INHIBITORY = 800, 200


def izhikevich(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 1.0,
    indegree: int | None = None,
) -> Network:
    """1,000 cortical neurons of all kinds, all to all, driven by thalamic noise.

    800 excitatory neurons, from regular spiking to chattering, and 200 inhibitory ones, from fast
    to low-threshold spiking, in the half steps of 1 ms of the published program. Weights are
    uniform, up to 0.5 and -1; noise has a deviation of 5 and 2. A spike arrives in the next step.

    Args:
        scale: number of neurons, against 1,000.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms, which the published noise
            needs to be 1.
        indegree: synapses per neuron, drawn with repetition; by default all to all. Weights are
            1000 over this times the published ones, so that the mean input stays.

    Raises:
        UserError: a scale that leaves no neuron of a kind, or an in-degree below 5.

    Reference: E. M. Izhikevich (2003), Simple model of spiking neurons, IEEE Trans. Neural Netw.
    14, 1569-1572, figure 3.
    """
    if indegree is not None and indegree < 5:
        raise UserError(f"indegree must be >= 5, a fifth of it inhibitory, got {indegree}")
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    many, few = scaled(EXCITATORY, scale), scaled(INHIBITORY, scale)
    random = np.random.default_rng(key(seed, "izhikevich"))
    r, q = (torch.from_numpy(random.random(size)) for size in (many, few))
    excitatory = net.population(
        Izhikevich(c=-65.0 + 15.0 * r**2, d=8.0 - 6.0 * r**2), many, name="excitatory"
    )
    inhibitory = net.population(
        Izhikevich(a=0.02 + 0.08 * q, b=0.25 - 0.05 * q, d=2.0), few, name="inhibitory"
    )
    stronger = (EXCITATORY + INHIBITORY) / (indegree or many + few)
    projections: tuple[tuple[Population, Uniform, float], ...] = (
        (excitatory, Uniform(0.0, 0.5 * stronger), 5.0),
        (inhibitory, Uniform(-stronger, 0.0), 2.0),
    )
    for source, weight, std in projections:
        net.noise(source, mean=0.0, std=std)
        part = source.size / (many + few)
        rule = FixedIndegree(round(indegree * part)) if indegree else AllToAll()
        for target in (excitatory, inhibitory):
            net.connect(source, target, rule, weight=weight, delay=dt)
    return net
