"""The network of Vogels and Abbott with synaptic currents."""

from spikesim.network.network import Network
from spikesim.network.recipes.size import Dtype
from spikesim.network.recipes.vogels_abbott import connected
from spikesim.network.values import Uniform
from spikesim.neurons.lif_exp import LIFExp


def cuba(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.1,
    weights: tuple[float, float] = (16.2, -90.0),
    delay: float = 1.5,
) -> Network:
    """4,000 LIF neurons with exponential currents that keep each other active.

    3,200 excitatory and 800 inhibitory neurons (200 pF, 10 nS, rest -49, threshold -50, reset -60
    mV, refractory for 5 ms), each pair connected with probability 2 %; currents decay in 5 and 10
    ms. All start between reset and threshold, uniformly.

    Args:
        scale: number of neurons, against 4,000; mean in-degrees stay.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms.
        weights: excitatory and inhibitory, pA: 0.27 nS x 60 mV and 4.5 nS x -20 mV.
        delay: ms; the published network has none beyond a step.

    Raises:
        UserError: a scale that leaves too few neurons.

    Reference: T. P. Vogels, L. F. Abbott (2005), J. Neurosci. 25, 10786-10795; benchmark 2 of
    R. Brette et al. (2007), J. Comput. Neurosci. 23, 349-398, appendix 2.
    """
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    cell = LIFExp(
        tau_m=20.0,
        tau_ex=5.0,
        tau_in=10.0,
        c_m=200.0,
        e_l=-49.0,
        v_threshold=-50.0,
        v_reset=-60.0,
        t_ref=5.0,
    )
    return connected(net, cell, {"v": Uniform(-60.0, -50.0)}, scale, weights, delay)
