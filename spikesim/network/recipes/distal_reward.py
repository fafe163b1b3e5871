"""Izhikevich's network of 2007, in which dopamine picks the synapse that brought a reward."""

from spikesim.network.connect import FixedProbability
from spikesim.network.network import Network
from spikesim.network.plasticity.reward import RewardSTDP
from spikesim.network.recipes.size import Dtype, scaled
from spikesim.neurons.izhikevich import Izhikevich

EXCITATORY, INHIBITORY = 800, 200
PROBABILITY = 0.1
NOISE = 3.5
"""Deviation of the normal noise: neurons fire as often as with the uniform one, up to 6.5."""
LARGEST = 4.0
"""Excitatory weight, mV per ms; all begin at 1."""
REWARD, TONIC = 0.5, 0.01
"""Dopamine that a reward brings (uM), and that comes all the time (uM per s)."""
RULE = RewardSTDP(
    w_max=LARGEST,
    a_plus=0.01,
    a_minus=0.015,
    tau_plus=20.0,
    tau_minus=20.0,
    tau_e=1000.0,
)


def distal_reward(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 1.0,
) -> Network:
    r"""1,000 cortical neurons, every tenth pair connected, whose synapses learn from dopamine.

    800 regular spiking and 200 fast spiking neurons under noise. Excitatory synapses have the rule
    of :class:`~spikesim.network.plasticity.RewardSTDP`: eligibilities decay in 1 s, and dopamine,
    the network's only modulator, in 200 ms. Nothing releases it here: an experiment lets it jump,
    by ``REWARD`` for each reward, and by ``TONIC`` in each second, for the baseline of 2 nM.

    Numbers are those of the author's program ``daspnet.m``, which changes weights every 10 ms, by
    :math:`d\, c`: in each ms by :math:`0.1\, d\, c`. It has 100 targets for each neuron in place of
    a probability, uniform noise, and delays of 1 ms, which are axonal there, dendritic here.

    Args:
        scale: number of neurons, against 1,000; mean in-degrees stay.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms, which the published noise
            needs to be 1. Plasticity needs a CPU.

    Raises:
        UserError: a scale that leaves too few neurons.

    Reference: E. M. Izhikevich (2007), Solving the distal reward problem through linkage of STDP
    and dopamine signaling, Cereb. Cortex 17, 2443-2452, figure 1.
    """
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    least = round(PROBABILITY * INHIBITORY)
    excitatory = net.population(
        Izhikevich(), scaled(EXCITATORY, scale, 4 * least), name="excitatory"
    )
    inhibitory = net.population(
        Izhikevich(a=0.1, d=2.0), scaled(INHIBITORY, scale, least), name="inhibitory"
    )
    dopamine = net.modulator(tau=200.0, name="dopamine")
    rule = FixedProbability(min(PROBABILITY / scale, 1.0), autapses=False)
    for target in (excitatory, inhibitory):
        net.connect(excitatory, target, rule, weight=1.0, plasticity=RULE, modulator=dopamine)
        net.noise(target, mean=0.0, std=NOISE)
    net.connect(inhibitory, excitatory, rule, weight=-1.0)
    return net
