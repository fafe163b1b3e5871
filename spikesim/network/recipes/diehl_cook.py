"""The network of Diehl and Cook, in which neurons learn digits as receptive fields."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spikesim.network.connect import AllToAll, Explicit, OneToOne
from spikesim.network.network import Network
from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.plasticity.triplet import TripletSTDP
from spikesim.network.population import Group, Population
from spikesim.network.projection import Projection
from spikesim.network.recipes.size import Dtype, scaled
from spikesim.network.values import Uniform
from spikesim.neurons.alif_cond_exp import ALIFCondExp
from spikesim.neurons.lif_cond_exp import LIFCondExp
from spikesim.neurons.poisson import PoissonNeuron

SHAPE = (28, 28)
EXCITATORY = 100
THRESHOLD, THETA = -72.0, 20.0
"""mV: what the threshold would fall to without spikes, and how far above it begins."""
EXCITING, INHIBITING = 10.4, 17.0
"""Weights from an excitatory neuron to its inhibitory one, and from that to all others, nS."""
TOTAL = 78.0
"""Sum of the weights of a neuron, which is restored before each image, nS."""
RULE = TripletSTDP(
    w_max=1.0,
    a2_plus=0.0,
    a3_plus=0.01,
    a2_minus=1e-4,
    a3_minus=0.0,
    tau_plus=20.0,
    tau_minus=20.0,
    tau_y=40.0,
    pairs="nearest",
)


@dataclass(frozen=True)
class Learned:
    """What a layer has learned.

    Args:
        weights: ``[inputs, neurons]``, nS.
        theta: ``[neurons]``, the rise of the thresholds, mV.
    """

    weights: NDArray[np.float64]
    theta: NDArray[np.float64]


def diehl_cook(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float64",
    dt: float = 0.5,
    rate: float = 8.33,
) -> Network:
    """100 neurons that compete for 784 inputs by STDP, inhibition and adaptive thresholds.

    Poisson trains of one rate take the place of images; :func:`layer` takes inputs of yours.

    Args:
        scale: number of excitatory neurons, against 100; 4, 16 and 64 are published too.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms. Thresholds decay in 2e7
            steps, which needs float64; plasticity needs a CPU.
        rate: of each input, Hz; by default the mean of MNIST's pixels.

    Raises:
        UserError: a scale that leaves no neuron, or a rate that is negative.

    Reference: P. U. Diehl, M. Cook (2015), Unsupervised learning of digit recognition using
    spike-timing-dependent plasticity, Front. Comput. Neurosci. 9:99; see :func:`layer` for what
    differs.
    """
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    source = net.population(PoissonNeuron(rate=rate), SHAPE, name="input")
    layer(net, source, scaled(EXCITATORY, scale, 2))
    return net


def layer(
    net: Network, source: Group, size: int, learned: Learned | None = None
) -> tuple[Population, Projection]:
    r"""Add the layer to a network: ``size`` excitatory neurons, and an inhibitory one for each.

    Numbers are those of the authors' program (github.com/peter-u-diehl/stdp-mnist, steps of 0.5
    ms): membranes of 100 and 10 ms, conductances in units of the leak, here 1 nS, that decay in 1
    and 2 ms, thresholds that rise by 0.05 mV at a spike and fall in :math:`10^7` ms. Its rule, a
    spike after another one of the same neuron grows by :math:`0.01\, x\, y_2` and a sender's
    shrinks by :math:`10^{-4} y`, is the triplet rule of nearest spikes with two of four terms.

    What differs: receptors are integrated exactly, not by Euler steps, which bring the same charge.
    A spike stops the other neurons after 1.5 ms, there after 1 ms; the sooner, the fewer fire
    beside the first one. The program delays spikes of the input by up to 10 ms, here it is a step.
    BindsNET, which is often run for it, has pairs in place of triplets, weights of 22.5 and 17.5, a
    reset to -60 mV, and sums of 78.4, a tenth of the inputs.

    Args:
        net: to which it is added.
        source: who sends the image.
        size: number of excitatory neurons.
        learned: weights and thresholds that stay as they are; ``None``: they learn, from random
            weights on.

    Returns:
        The excitatory population, and the projection from the source onto it.

    Raises:
        UserError: ``learned`` is of another size, or weights lie beyond 0 and 1 nS.
    """
    if learned is None:
        cell, theta = ALIFCondExp(v_threshold=THRESHOLD, theta_plus=0.05), THETA
    else:
        fixed = torch.from_numpy(THRESHOLD + learned.theta)
        cell, theta = ALIFCondExp(v_threshold=fixed, theta_plus=0.0), 0.0
    excitatory = net.population(cell, size, name="excitatory", initial={"theta": theta})
    inhibitory = net.population(
        LIFCondExp(
            c_m=10.0,
            g_l=1.0,
            e_l=-60.0,
            v_threshold=-40.0,
            v_reset=-45.0,
            t_ref=2.0,
            tau_ex=1.0,
            tau_in=2.0,
            e_ex=0.0,
            e_in=-85.0,
        ),
        size,
        name="inhibitory",
    )
    fields = net.connect(
        source,
        excitatory,
        AllToAll(),
        weight=Uniform(0.003, 0.303) if learned is None else learned.weights,
        plasticity=RULE if learned is None else None,
    )
    others = ~np.eye(size, dtype=np.bool_)
    # Without a delay, as inhibition must be fast; back it takes a step.
    net.connect(excitatory, inhibitory, OneToOne(), weight=EXCITING, delay=0.0)
    net.connect(inhibitory, excitatory, Explicit(*np.nonzero(others)), weight=-INHIBITING)
    return excitatory, fields


def normalise(fields: PlasticProjection) -> None:
    """Scale the weights of each neuron to the sum ``TOTAL``."""
    weights = fields.weights().reshape(fields.pre.size, fields.post.size)
    fields.set_weights(weights * (TOTAL / weights.sum(0)))
