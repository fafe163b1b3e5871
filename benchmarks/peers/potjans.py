"""The numbers of the microcircuit of Potjans and Diesmann, scaled as van Albada et al. scale it.

T. C. Potjans, M. Diesmann (2014), Cereb. Cortex 24, 785-806, tables 4 and 5; initial membrane
potentials and mean rates as in NEST's example ``Potjans_2014``. With fewer inputs per neuron than
in the full model weights grow by one over the root, and a constant current makes up for the mean:
S. J. van Albada, M. Helias, M. Diesmann (2015), PLoS Comput. Biol. 11, e1004490.

Matrices are ``[target, source]``, populations in the order of ``NAMES``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAMES = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
NEURONS = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
PROBABILITIES = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0],
        [0.0077, 0.0059, 0.0497, 0.135, 0.0067, 0.0003, 0.0453, 0.0],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.06, 0.3158, 0.0086, 0.0],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.001, 0.0034, 0.0005, 0.0277, 0.008, 0.0658, 0.1443],
    ]
)
EXTERNAL = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
RATES = np.array([0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829])  # Hz
V0_MEAN = np.array([-68.28, -63.16, -63.33, -63.45, -63.11, -61.66, -66.72, -61.43])  # mV
V0_STD = np.array([5.36, 4.57, 4.74, 4.94, 4.94, 4.55, 5.46, 4.48])  # mV
C_M, TAU_M, TAU_SYN, T_REF = 250.0, 10.0, 0.5, 2.0  # pF, ms
E_L, V_TH, V_RESET = -65.0, -50.0, -65.0  # mV
PSP, G, WEIGHT_STD = 0.15, -4.0, 0.1  # mV, -, relative
DELAYS, DELAY_STD, DELAY_POISSON = (1.5, 0.75), 0.5, 1.5  # ms of E and I, relative, ms
BACKGROUND = 8.0  # Hz


@dataclass(frozen=True)
class Circuit:
    """A microcircuit of some size.

    Args:
        neurons: of each population.
        synapses: ``[target, source]``, number.
        weights: ``[target, source]``, mean peak current, pA.
        external: rate of all background inputs of a neuron, Hz.
        external_weight: pA.
        current: constant input, pA.
    """

    neurons: NDArray[np.int64]
    synapses: NDArray[np.int64]
    weights: NDArray[np.float64]
    external: NDArray[np.float64]
    external_weight: float
    current: NDArray[np.float64]


def current_of_potential() -> float:
    """Peak current (pA) of an exponential input that moves the membrane by 1 mV at its largest."""
    ratio, difference = TAU_M / TAU_SYN, TAU_M - TAU_SYN
    rise = ratio ** (-TAU_SYN / difference) - ratio ** (-TAU_M / difference)
    return C_M * difference / (TAU_M * TAU_SYN * rise)


def circuit(scale: float) -> Circuit:
    """Neurons and inputs per neuron both times ``scale``."""
    pairs = np.outer(NEURONS, NEURONS).astype(np.float64)
    full = np.log(1.0 - PROBABILITIES) / np.log((pairs - 1.0) / pairs)
    potentials = np.full((8, 8), PSP)
    potentials[:, 1::2] *= G
    potentials[0, 2] *= 2  # L4E to L23E
    weights, external_weight = potentials * current_of_potential(), PSP * current_of_potential()
    recurrent = (weights * full / NEURONS[:, None] * RATES).sum(1)
    missing = 1.0 - np.sqrt(scale)
    mean_input = recurrent + external_weight * EXTERNAL * BACKGROUND
    return Circuit(
        neurons=np.round(NEURONS * scale).astype(np.int64),
        synapses=np.round(full * scale * scale).astype(np.int64),
        weights=weights / np.sqrt(scale),
        external=np.round(EXTERNAL * scale) * BACKGROUND,
        external_weight=float(external_weight / np.sqrt(scale)),
        current=1e-3 * TAU_SYN * missing * mean_input,
    )
