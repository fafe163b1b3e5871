"""e-prop: a recurrent network learns to draw a curve, online, without going back in time.

100 adaptive neurons (ALIF) and 20 inputs that fire like a clock; a leaky readout has to follow a
sum of four sines, one second long, over and over. In each step a synapse has all it needs: its
eligibility, and the error of the readout, brought back along the readout's weights. For comparison
the readout alone learns, from the same random network.

    python examples/eprop_pattern.py [--trials 300] [--seed 1] [--picture pattern.png]

Reference: Bellec et al. (2020), A solution to the learning dilemma for recurrent networks of
spiking neurons, Nat. Commun. 11:3625, its pattern generation; there with more neurons, and Adam.
"""

import argparse
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.network import AllToAll, Network, Normal
from spikesim.network.plasticity import EProp
from spikesim.neurons import ALIF, LI
from spikesim.surrogate import Triangle

STEPS, CELLS, INPUTS, PHASES = 1000, 100, 20, 5  # of 1 ms in a trial
TAU, EVERY = 20.0, 5.0  # ms: of membranes and readout; between two errors
LARGEST = 50.0  # size of a weight
Array: TypeAlias = NDArray[Any]


@dataclass
class Outcome:
    """Of all trials ``[trials, ...]``."""

    target: Array
    output: Array
    rate: float
    """Hz, in the last trial."""

    @property
    def error(self) -> Array:
        """Squared error of each trial, as a share of the target's variance."""
        found: Array = ((self.output - self.target) ** 2).mean(1) / self.target.var()
        return found


def curve(random: np.random.Generator) -> Array:
    """A sum of sines with random sizes and phases, at most 1."""
    t = np.arange(STEPS) / STEPS
    waves = [random.uniform(0.5, 2.0) * np.sin(2 * np.pi * (f * t + random.random()))
             for f in (1, 2, 3, 5)]  # fmt: skip
    total: Array = np.sum(waves, 0)
    total /= abs(total).max()
    return total


def clock(random: np.random.Generator, trials: int) -> tuple[Array, Array]:
    """Times (ms) and senders of spikes, the same in each trial; a fifth at a time is busy."""
    phase, group = np.arange(STEPS) * PHASES // STEPS, np.arange(INPUTS) * PHASES // INPUTS
    chance = np.where(phase[:, None] == group, 0.1, 0.005)
    step, sender = np.nonzero(random.random(chance.shape) < chance)
    times = step + 0.5 + STEPS * np.arange(trials)[:, None]
    return times.ravel(), np.tile(sender, trials)


def learn(trials: int, seed: int, *, is_recurrent: bool = True) -> Outcome:
    """Let the readout learn, and with ``is_recurrent`` all other synapses too."""
    random = np.random.default_rng(seed)
    target = curve(random)
    net = Network(dt=1.0, seed=seed)
    inputs = net.spikes(*clock(random, trials), INPUTS, name="clock")
    cells = net.population(ALIF(TAU, tau_adaptation=200.0, beta=1.0), CELLS, name="cells")
    out = net.population(LI(TAU, leak="exact"), 1, name="out")

    def error(ms: float) -> Array:
        found: Array = out.state["v"] - target[round(ms) % STEPS]
        return found

    errors = net.modulator(error, post=out, every=EVERY)

    def signal(ms: float) -> Array:
        return readout.weights() * error(ms)

    signals = net.modulator(signal, post=cells, every=EVERY)
    linear = EProp(eta=0.05, tau_e=0.0, w_max=LARGEST, w_min=-LARGEST)
    readout = net.connect(
        cells, out, AllToAll(), weight=Normal(0.0, 0.3), plasticity=linear, modulator=errors
    )
    rule = EProp(
        eta=0.03 if is_recurrent else 0.0,
        tau_e=TAU,
        surrogate=Triangle(1.0),
        damping=0.3,
        rate=15.0,
        c_rate=0.003,
        w_max=LARGEST,
        w_min=-LARGEST,
    )
    for pre, spread in ((inputs, 4.0), (cells, 0.9)):
        weight = Normal(0.0, spread)
        net.connect(pre, cells, AllToAll(), weight=weight, plasticity=rule, modulator=signals)
    membrane, rate = net.probe(out, "v"), net.probe(cells, "rate", every=float(STEPS))
    net.run(float(trials * STEPS))
    return Outcome(target, membrane.values.reshape(trials, STEPS), float(rate.values[-1]))


def draw(all_: Outcome, alone: Outcome, path: str) -> None:
    """The curve before and after, and the errors."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    left.plot(all_.target, "k", lw=3, alpha=0.3, label="target")
    left.plot(all_.output[0], "C7", lw=0.8, label="first trial")
    left.plot(all_.output[-1], "C0", lw=1.2, label="last trial")
    left.set(xlabel="time (ms)", ylabel="readout")
    left.legend()
    right.semilogy(1 + np.arange(len(all_.error)), all_.error, "C0", label="e-prop")
    right.semilogy(1 + np.arange(len(alone.error)), alone.error, "C1", label="readout alone")
    right.set(xlabel="trial", ylabel="squared error / variance")
    right.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture")
    given = parser.parse_args()
    all_ = learn(given.trials, given.seed)
    alone = learn(given.trials, given.seed, is_recurrent=False)
    for name, outcome in (("e-prop", all_), ("readout alone", alone)):
        first, last = outcome.error[0], outcome.error[-10:].mean()
        print(f"{name}: error {first:.2f} -> {last:.3f} of the variance, {outcome.rate:.0f} Hz")
    if given.picture:
        draw(all_, alone, given.picture)


if __name__ == "__main__":
    main()
