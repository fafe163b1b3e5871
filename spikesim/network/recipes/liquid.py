"""A liquid state machine: the column of Maass, Natschläger and Markram."""

import math

import numpy as np

from spikesim.errors import UserError
from spikesim.network.connect import FixedProbability
from spikesim.network.network import Network
from spikesim.network.plasticity.short_term import TsodyksMarkram
from spikesim.network.population import Group, Population
from spikesim.network.recipes.size import Dtype, scaled
from spikesim.network.space import DistanceDependent, GaussianProfile, lattice
from spikesim.network.values import Exponential, OfDistance, Uniform
from spikesim.neurons.lif_exp import LIFExp
from spikesim.neurons.poisson import PoissonNeuron
from spikesim.seeds import key

GRID = (15, 3, 3)
SHARE_INHIBITORY = 0.2
PROBABILITIES = {"EE": 0.3, "EI": 0.2, "IE": 0.4, "II": 0.1}
"""Of neighbours at no distance being connected, from the first to the second."""
AMPLITUDES = {"EE": 30e3, "EI": 60e3, "IE": -19e3, "II": -19e3}
"""Mean strengths of dynamic synapses that have fully recovered, pA."""
DYNAMICS = {
    "EE": (0.5, 1100.0, 50.0),
    "EI": (0.05, 125.0, 1200.0),
    "IE": (0.25, 700.0, 20.0),
    "II": (0.32, 144.0, 60.0),
}
"""Of dynamic synapses: use of a first spike, and the times of recovery and facilitation, ms."""
DELAYS = {"EE": 1.5, "EI": 0.8, "IE": 0.8, "II": 0.8}
"""ms."""
INPUT_SHARE = 0.3
INPUT_AMPLITUDES = {"E": 18e3, "I": 9e3}
INPUT_DELAY = 0.8
"""Of neurons that an input train reaches; mean strength (pA) and delay (ms) of its synapses."""


def liquid(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.1,
    length: float = 2.0,
    settled: float | None = 20.0,
    inputs: int = 4,
    input_rate: float = 20.0,
) -> Network:
    r"""A column of 135 LIF neurons, sparsely connected to their neighbours, driven by few inputs.

    Poisson trains, one for each input, take the place of a task; :func:`column` connects inputs
    of yours.

    Args:
        scale: height of the column, against 15 layers of 3 x 3 neurons.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms.
        length: of connections, in distances of neighbours.
        settled: rate for which static synapses are as strong as dynamic ones become, Hz; null for
            dynamic ones, which need a CPU.
        inputs: number of input trains.
        input_rate: of each, Hz.

    Raises:
        UserError: a scale that leaves no layer, no inputs, a length or a rate out of its range.

    Reference: W. Maass, T. Natschläger, H. Markram (2002), Real-time computing without stable
    states, Neural Comput. 14, 2531-2560; see :func:`column` for what differs.
    """
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    source = net.population(PoissonNeuron(rate=input_rate), inputs, name="input")
    grid = scaled(GRID[0], scale), *GRID[1:]
    column(net, source, grid=grid, length=length, settled=settled)
    return net


def column(
    net: Network,
    source: Group,
    *,
    grid: tuple[int, int, int] = GRID,
    length: float = 2.0,
    settled: float | None = 20.0,
) -> tuple[Population, Population]:
    r"""Add the column to a network, driven by the spikes of ``source``.

    A fifth of the neurons, randomly chosen, is inhibitory. Neurons (30 ms, 1 M\ :math:`\Omega`,
    threshold 15, reset 13.5 mV above rest, refractory for 3 ms if excitatory, else 2 ms, 13.5 nA
    of background) connect with probability :math:`C e^{-(d / \lambda)^2}`. Currents decay in 3 ms
    (excitatory) and 6 ms; each input reaches three neurons of ten. Strengths follow a gamma
    distribution whose deviation is its mean: an exponential one.

    The published synapses are dynamic, each with numbers of its own; here those of a kind share
    their means. By default they are static, with the mean strengths to which dynamic ones settle
    under regular spikes; with those of first spikes excitation would feed itself, up to 200 Hz. No
    neuron connects to itself, and spikes of inputs take 0.8 ms: the paper tells neither.

    Args:
        net: to which it is added.
        source: neurons or given trains.
        grid: neurons along each axis.
        length: of connections, :math:`\lambda`, in distances of neighbours.
        settled: rate of the regular spikes, Hz; ``None``: dynamic synapses
            (:class:`~spikesim.network.plasticity.TsodyksMarkram`).

    Returns:
        The excitatory and the inhibitory population.

    Raises:
        UserError: a length or a rate that is not positive, or a grid too small for both kinds.
    """
    for name, value in (("length", length), ("settled", settled)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} must be > 0 and finite, got {value}")
    places = np.random.default_rng(key(net.seed, "column")).permutation(lattice(grid))
    few = round(SHARE_INHIBITORY * len(places))
    if not 0 < few < len(places):
        raise UserError(f"a grid of {grid} has no neurons of both kinds")
    positions = {"E": places[few:], "I": places[:few]}
    cells = {}
    for kind, name, t_ref in (("E", "excitatory", 3.0), ("I", "inhibitory", 2.0)):
        cell = LIFExp(
            tau_m=30.0,
            tau_ex=3.0,
            tau_in=6.0,
            c_m=30e3,
            e_l=0.0,
            v_threshold=15.0,
            v_reset=13.5,
            t_ref=t_ref,
            i_e=13.5e3,
        )
        first = {"v": Uniform(13.5, 15.0)}
        cells[kind] = net.population(cell, len(positions[kind]), name=name, initial=first)
        strength, rule = Exponential(INPUT_AMPLITUDES[kind]), FixedProbability(INPUT_SHARE)
        net.connect(source, cells[kind], rule, weight=strength, delay=INPUT_DELAY)
    for kinds, probability in PROBABILITIES.items():
        near = GaussianProfile(length / math.sqrt(2.0), probability)
        pre, post = kinds[0], kinds[1]
        use, recovery, facilitation = DYNAMICS[kinds]
        if settled is None:
            part, dynamics = 1.0, TsodyksMarkram(use, recovery, facilitation)
        else:
            part, dynamics = efficacy(use, recovery, facilitation, settled), None
        net.connect(
            cells[pre],
            cells[post],
            DistanceDependent(near, positions[pre], positions[post], autapses=False),
            weight=strengths(part * AMPLITUDES[kinds], key(net.seed, "strengths", kinds)),
            delay=DELAYS[kinds],
            plasticity=dynamics,
        )
    return cells["E"], cells["I"]


def strengths(mean: float, seed: int) -> OfDistance:
    """Exponential numbers of that mean, of either sign, one for each synapse."""
    law = Exponential(abs(mean))
    return lambda distance: math.copysign(1.0, mean) * law.draw(len(distance), seed)


def efficacy(use: float, recovery: float, facilitation: float, rate: float) -> float:
    r"""The part of a dynamic synapse's strength that is left under regular spikes.

    .. math::
        u = \frac{U}{1 - (1 - U) e^{-T / \tau_f}}, \quad
        R = \frac{1 - e^{-T / \tau_r}}{1 - (1 - u) e^{-T / \tau_r}}, \quad \text{efficacy } u R

    Args:
        use: :math:`U`, of a first spike.
        recovery: :math:`\tau_r`, ms.
        facilitation: :math:`\tau_f`, ms.
        rate: :math:`1 / T`, Hz.

    Reference: H. Markram, Y. Wang, M. Tsodyks (1998), PNAS 95, 5323-5328.
    """
    interval = 1e3 / rate
    forgets, recovers = math.exp(-interval / facilitation), math.exp(-interval / recovery)
    u = use / (1 - (1 - use) * forgets)
    return u * (1 - recovers) / (1 - (1 - u) * recovers)
