"""The network of Vogels and Abbott with synaptic conductances."""

from spikesim.network.network import Network
from spikesim.network.recipes.size import Dtype
from spikesim.network.recipes.vogels_abbott import connected
from spikesim.network.values import Normal
from spikesim.neurons.lif_cond_exp import LIFCondExp


def coba(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.1,
    weights: tuple[float, float] = (6.0, -67.0),
    delay: float = 1.5,
) -> Network:
    """4,000 LIF neurons with exponential conductances that keep each other active.

    3,200 excitatory and 800 inhibitory neurons (200 pF, 10 nS, rest and reset -60, threshold -50
    mV, refractory for 5 ms), each pair connected with probability 2 %; conductances towards 0 and
    -80 mV decay in 5 and 10 ms. All start at normal values (mean, deviation) of -65, 5 mV, 40, 15
    nS and 200, 120 nS, as Brian's example ``COBAHH`` has them, so that activity begins at once.

    Args:
        scale: number of neurons, against 4,000; mean in-degrees stay.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms.
        weights: excitatory and inhibitory, nS.
        delay: ms; the published network has none beyond a step.

    Raises:
        UserError: a scale that leaves too few neurons.

    Reference: T. P. Vogels, L. F. Abbott (2005), J. Neurosci. 25, 10786-10795; benchmark 1 of
    R. Brette et al. (2007), J. Comput. Neurosci. 23, 349-398, appendix 2.
    """
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    cell = LIFCondExp(
        tau_ex=5.0,
        tau_in=10.0,
        c_m=200.0,
        g_l=10.0,
        e_l=-60.0,
        e_ex=0.0,
        e_in=-80.0,
        v_threshold=-50.0,
        v_reset=-60.0,
        t_ref=5.0,
    )
    first = {"v": Normal(-65.0, 5.0), "g_ex": Normal(40.0, 15.0), "g_in": Normal(200.0, 120.0)}
    return connected(net, cell, first, scale, weights, delay)
