"""A reservoir of diverse Izhikevich neurons that hears cues."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.connect import FixedProbability
from spikesim.network.given import whole
from spikesim.network.network import Network
from spikesim.network.recipes.size import Dtype, check_connected, scaled
from spikesim.network.values import Normal
from spikesim.neurons.izhikevich_2007 import Izhikevich2007
from spikesim.neurons.synaptic import synaptic
from spikesim.seeds import key

SIZE = 1000
EXCITATORY = 0.8
"""Share of neurons with parameters of excitatory ones; synapses have either sign."""
K, LINEAR, CONSTANT = 0.04, 5.0, 140.0
"""Of the model of 2003."""


def cue_of(trial: int, cues: int, seed: int) -> int:
    """Which cue a trial has."""
    return key(seed, "cue", trial) % cues


def what_when(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.2,
    cues: int = 4,
    trial: float = 1500.0,
    cue_ms: float = 400.0,
    cue_size: float = 10.0,
    gain: float = 10.0,
    p: float = 0.1,
    slowest: float = 0.1,
    margin: float = 2.0,
    noise: float = 0.1,
    tau_decay: float = 20.0,
) -> Network:
    """1,000 diverse Izhikevich neurons, which cues set on their way and which rest in between.

    Parameters are drawn as in the network of 2003, a fifth of the neurons as its inhibitory ones;
    recovery (``a`` and ``d``) is slower by random factors. Random synapses and filtered spikes
    ``"r"`` as in :func:`~spikesim.network.recipes.force.force`. In each trial one of the cues, a
    random current for each neuron, lasts ``cue_ms``; without one all are below the rheobase.

    Args:
        scale: number of neurons, against 1,000.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms; half of it changes
            the mean rate by 2 %.
        cues: how many; :func:`cue_of` tells that of a trial.
        trial: from one cue to the next, ms.
        cue_ms: how long a cue lasts, ms.
        cue_size: currents of a cue are uniform up to this size, per pF as all in the model of 2003.
        gain: ``G``; weights have the deviation ``G / (p sqrt(N))``.
        p: probability of a synapse.
        slowest: factor of the slowest recovery; factors are uniform on a logarithmic scale.
        margin: of the rest below the rheobase of a neuron.
        noise: deviation of the noise of each step.
        tau_decay: of synapses, ms; they rise within 2 ms.

    Raises:
        UserError: a number out of its range.

    Reference: Y. Yamada, Z. C. Chao (2025), arXiv 2510.14382, whose constants are not known to us:
    all are our choice, of neurons after Izhikevich (2003) and of synapses after Nicola and Clopath
    (2017).
    """
    whole("cues", cues, 1)
    check_connected(p)
    if not 0 < cue_ms <= trial:
        raise UserError(f"need 0 < cue_ms <= trial, got {cue_ms} and {trial} ms")
    if not (0 < slowest <= 1 and cue_size >= 0):
        raise UserError(f"need 0 < slowest <= 1 and cue_size >= 0, got {slowest} and {cue_size}")
    size = scaled(SIZE, scale, 10)
    random = np.random.default_rng(key(seed, "what_when"))
    root = math.sqrt(LINEAR**2 - 4.0 * K * CONSTANT)
    v_r, v_t = (-LINEAR - root) / (2.0 * K), (-LINEAR + root) / (2.0 * K)
    is_excitatory, q = random.random(size) < EXCITATORY, random.random(size)
    slow = slowest ** random.random(size)
    a = np.where(is_excitatory, 0.02, 0.02 + 0.08 * q) * slow
    b = np.where(is_excitatory, 0.2, 0.25 - 0.05 * q)
    c = np.where(is_excitatory, -65.0 + 15.0 * q**2, -65.0)
    d = np.where(is_excitatory, 8.0 - 6.0 * q**2, 2.0) * slow
    rheobase = (K * (v_t - v_r) + b) ** 2 / (4.0 * K)
    of_each = (torch.from_numpy(values) for values in (a, b, c, d))
    neuron = Izhikevich2007(
        1.0, K, v_r, v_t, *of_each, v_peak=30.0, i_e=torch.from_numpy(rheobase - margin)
    )
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    cells = net.population(synaptic(neuron, tau_decay=tau_decay), size, name="cells")
    weight = Normal(0.0, gain / (p * math.sqrt(size)))
    net.connect(cells, cells, FixedProbability(p), weight=weight, receptor="synaptic")
    currents = random.uniform(-cue_size, cue_size, (cues, size))

    def course(ms: float) -> NDArray[np.float64]:
        number = math.floor(ms / trial + 1e-9)
        is_on = ms - number * trial < cue_ms - 1e-6
        return currents[cue_of(number, cues, seed)] if is_on else np.zeros(size)

    every = math.gcd(round(trial / dt), round(cue_ms / dt)) * dt
    net.current(cells, course, every=every, largest=cue_size, receptor="current")
    net.noise(cells, 0.0, noise, receptor="current")
    return net
