"""The networks of Nicola and Clopath that FORCE trains."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spikesim.errors import UserError
from spikesim.network.connect import Explicit
from spikesim.network.given import whole
from spikesim.network.network import Network
from spikesim.network.recipes.size import Dtype, check_connected, scaled
from spikesim.network.values import Uniform
from spikesim.neuron import Neuron
from spikesim.neurons.izhikevich_2007 import Izhikevich2007
from spikesim.neurons.lif_delta import LIFDelta
from spikesim.neurons.qif import QIF
from spikesim.neurons.synaptic import synaptic
from spikesim.seeds import key

Cell = Literal["izhikevich", "lif", "theta"]
SIZE = 2000
LARGEST = 10.0
"""Size of an output beyond which it is fed back as this; targets are of size 1."""


@dataclass(frozen=True)
class _Kind:
    """The published constants of a model."""

    neuron: Callable[[], Neuron]
    gain: float
    """Of the fixed weights, ``G``."""
    feedback: float
    """``Q``."""
    v: Uniform
    """At first."""
    per_spike: float = 1.0
    """Of its ``current`` times ms, for each unit of ``G``."""
    per_output: float = 1.0
    """Of its ``current``, for each unit of ``Q``."""


def _izhikevich(b: float = -2.0) -> Neuron:
    """Rheobase is 1000 pA, the bias, for every ``b``."""
    k, v_r = 2.5, -60.0
    v_t = v_r + 40.0 - b / k
    return Izhikevich2007(250.0, k, v_r, v_t, 0.01, b, -65.0, 200.0, v_peak=30.0, i_e=1000.0)


def _lif() -> Neuron:
    """A capacitance equal to the time constant makes currents mV; the bias sits on threshold."""
    return LIFDelta(10.0, 10.0, -40.0, -40.0, -65.0, 2.0)


def _theta() -> Neuron:
    """A time constant of a second, as published, where currents are dimensionless."""
    return QIF(tau=1000.0, i_e=0.0, v_initial=0.0)


KINDS: dict[Cell, _Kind] = {
    "izhikevich": _Kind(_izhikevich, 5e3, 5e3, Uniform(-60.0, 30.0)),
    # At the rheobase LIF neurons would stay silent: some begin above threshold.
    # These two count time in seconds: a filtered spike is 1000 times as large as one per ms.
    "lif": _Kind(_lif, 0.04, 10.0, Uniform(-65.0, 30.0), 1e3),
    "theta": _Kind(_theta, 10.0, 1e4, Uniform(-10.0, 10.0), 1e3 * math.pi**2, math.pi**2),
}


def force(
    *,
    scale: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    dtype: Dtype = "float32",
    dt: float = 0.04,
    cell: Cell = "izhikevich",
    outputs: int = 1,
    gain: float | None = None,
    feedback: float | None = None,
    p: float = 0.1,
    b: float = -2.0,
) -> Network:
    r"""2,000 neurons with strong random synapses and a readout that is fed back, for FORCE.

    Synapses (2 and 20 ms) have normal weights of deviation :math:`G / (p \sqrt N)`, for LIF and
    theta neurons less their mean over the synapses of a neuron. ``net.readouts[0]`` sums the
    filtered spikes of all and acts back with weights from ``-feedback`` to ``feedback``; its own
    weights are 0 until a rule such as :class:`spikesim.reservoir.RLS` changes them. Neurons are
    Izhikevich's (pA), LIF (mV) or theta neurons, as QIF, their bias at the rheobase.

    Args:
        scale: number of neurons, against 2,000.
        seed, threads, device, dtype, dt: of the network; ``dt`` in ms, published are 0.04
            (Izhikevich), 0.05 (LIF) and 0.01 (theta). Readouts need a CPU.
        cell: ``"izhikevich"``, ``"lif"`` or ``"theta"``.
        outputs: of the readout.
        gain: ``G``; null for the published 5000 pA, 0.04 mV s and 10 s of the sine (the song: 1e4).
        feedback: ``Q``; null for the published 5000 pA, 10 mV and 1e4 of the sine (the song: 4e3).
        p: probability of a synapse. With the gain as it is, fewer synapses are stronger.
        b: sensitivity of the recovery of Izhikevich's neurons, nS: -2 for the sine, 0 for the song.

    Raises:
        UserError: a number out of its range, or an unknown cell.

    Reference: W. Nicola, C. Clopath (2017), Supervised learning in spiking neural networks with
    FORCE training, Nat. Commun. 8:2208; ModelDB 190565.
    """
    if cell not in KINDS:
        raise UserError(f"cell must be one of {', '.join(KINDS)}, got {cell!r}")
    check_connected(p)
    whole("outputs", outputs, 1)
    kind, size = KINDS[cell], scaled(SIZE, scale, 10)
    net = Network(dt=dt, seed=seed, dtype=dtype, threads=threads, device=device)
    neuron = _izhikevich(b) if cell == "izhikevich" else kind.neuron()
    cells = net.population(synaptic(neuron), size, name="cells", initial={"v": kind.v})
    random = np.random.default_rng(key(seed, "force"))
    is_there = random.random((size, size)) < p  # [pre, post]
    weight = random.standard_normal((size, size)) / (p * math.sqrt(size)) * is_there
    if cell != "izhikevich":
        weight -= is_there * (weight.sum(0) / np.maximum(is_there.sum(0), 1))
    pre, post = np.nonzero(is_there)
    strength = kind.gain if gain is None else gain
    values = weight[is_there] * (strength * kind.per_spike)
    net.connect(cells, cells, Explicit(pre, post), weight=values, receptor="synaptic")
    back = random.uniform(-1.0, 1.0, (outputs, size))
    back *= (kind.feedback if feedback is None else feedback) * kind.per_output
    net.readout(cells, outputs, feedback=back, receptor="current", largest=LARGEST)
    return net
