"""Credit for a late reward: dopamine strengthens the one synapse that earned it (Izhikevich, 2007).

Each time that a chosen neuron fires within 10 ms after another one, whose synapse onto it begins at
0, all 1,000 neurons get a reward of dopamine, 1 to 3 s later, while 80,000 synapses go on with
their own pairs of spikes. Only this synapse's eligibilities keep meeting the rewards: it grows to
the largest weight, and the others, on average, shrink. In the control as many rewards come at
random times.

    python examples/distal_reward.py [--minutes 60] [--seed 0] [--picture distal_reward.png]

Reference: E. M. Izhikevich (2007), *Solving the distal reward problem through linkage of STDP and
dopamine signaling*, Cereb. Cortex 17:2443, figure 1. The author's program takes 20 ms.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from spikesim.network.plasticity.projection import PlasticProjection
from spikesim.network.recipes.distal_reward import LARGEST, REWARD, TONIC, distal_reward

COINCIDENT, DELAY = 10.0, (1000, 3000)  # ms: what is rewarded, and after how long
PORTION, SECOND = 250.0, 1000.0  # ms between two portions of tonic dopamine, and two records
Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Course:
    """What happened: ``[seconds]`` of the chosen synapse, of all on average, and of dopamine (uM).

    Args:
        chosen, mean, dopamine: at the end of each second.
        rewards: their times, ms.
        weights: of all synapses between excitatory neurons at last, the chosen one first.
    """

    chosen: Array
    mean: Array
    dopamine: Array
    rewards: Array
    weights: Array


def experiment(
    seed: int, minutes: float, at: Iterable[float] | None = None, *, scale: float = 1.0
) -> Course:
    """Run with rewards for the first synapse, or at given times (ms)."""
    net = distal_reward(seed=seed, scale=scale)
    random = np.random.default_rng(seed)
    synapses, (dopamine,) = net.projections[0], net.modulators
    assert isinstance(synapses, PlasticProjection)
    pre, post = (int(synapses.table()[end][0]) for end in ("pre", "post"))
    first = np.ones(len(synapses))
    first[0] = 0.0
    synapses.set_weights(first)
    pair = net.probe(net.groups[0], "spikes", neurons=[pre, post])
    due, given = sorted(at or ()), []
    last, rows = -np.inf, []
    text = "rewarded for a synapse" if at is None else "rewarded at random"
    for end in track(np.arange(PORTION, minutes * 60 * SECOND + 1, PORTION), text):
        while due and due[0] <= end:
            given.append(due.pop(0))
            net.run(given[-1] - net.time)
            dopamine.add(REWARD)
        net.run(end - net.time)
        dopamine.add(TONIC * PORTION * 1e-3)
        for time, sender in zip(pair.times, pair.senders, strict=True):
            if sender == pre:
                last = time
            elif at is None and 0.0 < time - last <= COINCIDENT:
                due.append(time + random.integers(*DELAY, endpoint=True))
        due.sort()
        pair.clear()
        if end % SECOND == 0:
            weights = synapses.weights()
            rows.append((weights[0], weights.mean(), dopamine.value[0]))
    chosen, mean, level = np.array(rows).T
    return Course(chosen, mean, level, np.array(given), synapses.weights())


def control(course: Course, seed: int, minutes: float, *, scale: float = 1.0) -> Course:
    """The same network with as many rewards, at random times."""
    count, until = len(course.rewards), round(minutes * 60 * SECOND)
    times = np.random.default_rng(seed + 1).integers(0, until, count, endpoint=True)
    return experiment(seed, minutes, times.astype(float).tolist(), scale=scale)


def late(course: Course) -> tuple[float, float]:
    """Weight of the chosen synapse and of all, over the last quarter of the time."""
    quarter = len(course.chosen) // 4
    return float(course.chosen[-quarter:].mean()), float(course.mean[-quarter:].mean())


def draw(path: str, rewarded: Course, at_random: Course) -> None:
    """The synapse and dopamine over time, and all weights at last."""
    import matplotlib.pyplot as plt

    figure, (top, middle, low) = plt.subplots(3, 1, figsize=(8, 9), layout="constrained")
    minutes = (1 + np.arange(len(rewarded.chosen))) / 60
    top.plot(minutes, rewarded.chosen, color="C3", label="the synapse, rewarded for it")
    top.plot(minutes, at_random.chosen, color="C0", label="the synapse, rewarded at random")
    top.plot(minutes, rewarded.mean, color="gray", label="mean of all")
    top.set(xlabel="minutes", ylabel="weight (mV per ms)", ylim=(-0.1, LARGEST + 0.1))
    top.legend(loc="upper left")
    middle.plot(minutes, rewarded.dopamine, linewidth=0.6)
    middle.set(xlabel="minutes", ylabel="dopamine, each second (uM)")
    low.hist(rewarded.weights[1:], bins=np.linspace(0, LARGEST, 81), log=True, color="gray")
    low.plot(rewarded.weights[0], 1.0, "o", color="C3", markersize=9)
    low.set(xlabel="weight at last (mV per ms); red: the synapse", ylabel="synapses")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="biological time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="distal_reward.png")
    options = parser.parse_args()
    rewarded = experiment(options.seed, options.minutes)
    at_random = control(rewarded, options.seed, options.minutes)
    print(f"{len(rewarded.rewards)} rewards in {options.minutes:g} minutes, seed {options.seed}")
    for name, course in (("for the synapse", rewarded), ("at random", at_random)):
        chosen, mean = late(course)
        above = float((course.weights[1:] < course.weights[0]).mean())
        print(f"rewarded {name}: weight {chosen:.2f} in the last quarter, {course.chosen[-1]:.2f} "
              f"at last, above {above:.2%} of all; mean of all {mean:.2f}")  # fmt: skip
    draw(options.picture, rewarded, at_random)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
