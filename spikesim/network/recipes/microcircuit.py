"""The cortical microcircuit of Potjans and Diesmann, at any scale."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.connect import FixedTotalNumber
from spikesim.network.network import Network
from spikesim.network.recipes.size import Dtype, scaled
from spikesim.network.values import Normal
from spikesim.neurons.lif_exp import LIFExp

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
NEURONS = np.array([20_683, 5_834, 21_915, 5_479, 4_850, 1_065, 14_395, 2_948])
PROBABILITIES = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)
"""Of a pair being connected at least once, ``[target, source]``."""
EXTERNAL = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
"""Background inputs of a neuron, each of 8 Hz."""
BACKGROUND = 8.0
RATES = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])
"""Mean rates of the full model, Hz, which make up for inputs that a smaller one lacks."""
INITIAL = {
    "optimized": (
        np.array([-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43]),
        np.array([5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48]),
    ),
    "original": (np.full(8, -58.0), np.full(8, 10.0)),
}
"""Mean and standard deviation of the first potentials, mV."""

C_M, TAU_M, TAU_SYN = 250.0, 10.0, 0.5
PSP, G = 0.15, -4.0
"""Excitatory potential, mV, and inhibitory over excitatory weight."""
WEIGHT_SPREAD, DELAY_SPREAD = 0.1, 0.5
"""Standard deviations over means."""
DELAYS = (1.5, 0.75)
"""Mean delays of excitatory and inhibitory synapses, ms."""


def microcircuit(
    *,
    scale: float = 0.1,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.1,
    indegree_scale: float | None = None,
    drive: Literal["poisson", "dc"] = "poisson",
    initial: Literal["optimized", "original"] = "optimized",
) -> Network:
    """Eight populations of LIF neurons in four layers below 1 mm2 of cortex.

    77,169 neurons with 0.3e9 synapses at full scale; 7,717 with 3.0e6 at 0.1. With fewer inputs per
    neuron weights grow by one over the root, and a constant current makes up for the mean, so that
    mean and variance of the input stay (van Albada, Helias & Diesmann 2015).

    Args:
        scale: number of neurons, against 77,169.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms.
        indegree_scale: inputs per neuron, against the published ones; by default ``scale``.
        drive: background as Poisson spikes, or as their mean current, which lacks their variance:
            at 0.1 most neurons then fall silent, in NEST too; from 0.3 on they do not.
        initial: first potentials: ``"optimized"`` for each population, which avoids a burst at the
            start, or ``"original"``, the same for all.

    Raises:
        UserError: an unknown drive or way to start, or a scale that leaves no neuron of a kind.

    Reference: T. C. Potjans, M. Diesmann (2014), Cereb. Cortex 24, 785-806, tables 4 and 5, in the
    form of NEST's example ``Potjans_2014``: weights redrawn to keep their sign, delays to last a
    step.
    """
    if drive not in ("poisson", "dc"):
        raise UserError(f"drive must be 'poisson' or 'dc', got {drive!r}")
    if initial not in INITIAL:
        raise UserError(f"initial must be 'optimized' or 'original', got {initial!r}")
    inputs = scale if indegree_scale is None else indegree_scale
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    weights = mean_weights() / np.sqrt(inputs)
    external = PSP * current_of_potential() / np.sqrt(inputs)
    currents = compensation(inputs, drive)
    means, stds = INITIAL[initial]
    populations = [
        net.population(
            LIFExp(
                tau_m=TAU_M,
                tau_ex=TAU_SYN,
                tau_in=None,
                c_m=C_M,
                e_l=-65.0,
                v_threshold=-50.0,
                v_reset=-65.0,
                t_ref=2.0,
                i_e=float(currents[i]),
            ),
            scaled(int(NEURONS[i]), scale),
            name=name,
            initial={"v": Normal(means[i], stds[i])},
        )
        for i, name in enumerate(POPULATIONS)
    ]
    counts = np.rint(full_synapses() * scale * inputs).astype(int)
    for i, target in enumerate(populations):
        if drive == "poisson":
            rate = BACKGROUND * round(EXTERNAL[i] * inputs)
            net.poisson(target, rate=rate, weight=external)
        for j, source in enumerate(populations):
            if counts[i, j] == 0:
                continue
            size, wait = weights[i, j], DELAYS[j % 2]
            low, high = (0.0, np.inf) if size > 0 else (-np.inf, 0.0)
            net.connect(
                source,
                target,
                FixedTotalNumber(int(counts[i, j])),
                weight=Normal(size, WEIGHT_SPREAD * abs(size), low, high, "redraw"),
                delay=Normal(wait, DELAY_SPREAD * wait, dt / 2, outside="redraw"),
            )
    return net


def full_synapses() -> NDArray[np.float64]:
    """Synapses of the full model, ``[target, source]``: pairs drawn with repetition."""
    pairs = np.outer(NEURONS, NEURONS).astype(np.float64)
    found: NDArray[np.float64] = np.log1p(-PROBABILITIES) / np.log1p(-1.0 / pairs)
    return found


def mean_weights() -> NDArray[np.float64]:
    """Mean weights of the full model, ``[target, source]``, pA; L4E to L23E has twice the usual."""
    potentials = np.tile([PSP, G * PSP], (8, 4))
    potentials[POPULATIONS.index("L23E"), POPULATIONS.index("L4E")] *= 2.0
    return potentials * current_of_potential()


def current_of_potential() -> float:
    """Weight of an exponential current (pA) whose potential is 1 mV at its largest."""
    peak = np.log(TAU_M / TAU_SYN) * TAU_M * TAU_SYN / (TAU_M - TAU_SYN)
    course = np.exp(-peak / TAU_M) - np.exp(-peak / TAU_SYN)
    return float(C_M / course * (TAU_M - TAU_SYN) / (TAU_M * TAU_SYN))


def compensation(inputs: float, drive: str) -> NDArray[np.float64]:
    """Constant currents (pA) in place of inputs that are left out, ``[target]``."""
    recurrent = (mean_weights() * full_synapses() * RATES).sum(1) / NEURONS
    background = PSP * current_of_potential() * EXTERNAL * BACKGROUND
    missing = 1.0 - np.sqrt(inputs)
    of_background = missing if drive == "poisson" else 1.0
    lost: NDArray[np.float64] = missing * recurrent + of_background * background
    return 1e-3 * TAU_SYN * lost
