"""What comes after a cue, when, and how likely: a spiking reservoir learns all three locally.

1,000 diverse Izhikevich neurons hear one of four cues; one of two stimuli or none follows.
Readouts of the same neurons learn by error, gate and activity: timing in each step, identity at
the end of a trial. Outputs shall rise when a stimulus is due, as high as it is likely, and follow
changes of latency sooner than least squares (the rule of FORCE), which must forget its past to do
so. Weights shall change in other directions for another latency than for another probability.

    python examples/what_when_reservoir.py [--trials 320] [--seed 1] [--picture what_when.png]

Reference: Y. Yamada, Z. C. Chao (2025), *Joint encoding of "what" and "when" predictions through
error-modulated plasticity in reservoir spiking networks*, arXiv 2510.14382. Its abstract states
the findings; constants, trials and equations here are ours.
"""

import argparse
import copy
from dataclasses import dataclass, replace

import numpy as np

from spikesim.network.recipes.what_when import what_when
from spikesim.reservoir import (
    RLS,
    Prediction,
    ThreeFactor,
    Trials,
    fit,
    learn,
    peaks,
    record,
    shuffled_angles,
    trials_to_follow,
)

CUES, STIMULI, TAU = 4, 2, 20.0  # ms: of the filter, the decay of synapses
PROBABILITY = [[0.9, 0.1], [0.7, 0.3], [0.4, 0.5], [0.2, 0.8]]
LATENCY = [[150.0, 250.0], [200.0, 300.0], [250.0, 150.0], [300.0, 200.0]]  # ms
LATER = [[250.0, 150.0], [300.0, 200.0], [150.0, 250.0], [200.0, 300.0]]
TESTED = 40  # trials of a cue after a change of latency
BLOCK, BLOCKS, CENTRE, MOVED = 10, 8, np.array([200.0, 300.0]), 40.0  # ms: of the subspaces
BY = ("three factors", "FORCE", "FORCE, reset")
Array = np.ndarray


@dataclass
class Outcome:
    """Of one reservoir."""

    times: Array
    learned: Array
    """Mean outputs of the last trials of each cue ``[cues, steps, stimuli]``."""
    late: Array
    """Peaks against latencies, ms, ``[cues, stimuli]``."""
    slope: float
    offset: float
    """Of heights against probabilities."""
    followed: dict[str, list[int]]
    """Trials until the peak of the likelier stimulus has moved, of two cues, by rule."""
    angle: float
    shuffled: Array
    """Mean principal angle of changes for probability and for latency, and of shuffled ones."""


def rule(trials: Trials, weight: Array) -> ThreeFactor:
    """The local rule, its rates relative to the power of the activity."""
    rates = {"eta_when": 0.2 / trials.power, "eta_what": 0.05 / trials.power}
    return ThreeFactor(weight.copy(), **rates, tau_mean=2000.0, expects=0.1, dt=5.0)


def changes(trials: Trials, one: Prediction, other: Prediction) -> Array:
    """Changes of weights ``[.., neurons]`` as a task becomes another one, and again."""
    found = []
    for cue in range(CUES):
        own = trials.of(cue)
        local = rule(trials, np.zeros((STIMULI, trials.r.shape[2])))
        for n in range(BLOCKS + 1):
            before, first = local.weight.copy(), 2 * BLOCK * n % (len(own) - 2 * BLOCK)
            part = own[first : first + 2 * BLOCK]
            learn(part, (one, other)[n % 2], local, seed=n, block=BLOCK)
            found += [local.weight - before] if n else []
    return np.concatenate(found)


def experiment(seed: int, count: int, *, scale: float = 1.0) -> Outcome:
    """All of it with one reservoir."""
    trials = record(what_when(seed=seed, scale=scale, cues=CUES), count, cues=CUES)
    task, zero = Prediction(PROBABILITY, LATENCY), np.zeros((STIMULI, trials.r.shape[2]))
    local = rule(trials, zero)
    outputs = learn(trials, task, local, seed=seed, block=BLOCK)
    last = count // (2 * CUES)
    learned = np.array([outputs[trials.cues == cue][-last:].mean(0) for cue in range(CUES)])
    when, height = peaks(learned, trials.times)
    slope, offset = np.polyfit(task.p.ravel(), height.ravel(), 1)

    seldom = Trials(trials.times[1::2], trials.cues, trials.r[:, 1::2])
    squares = RLS(zero.copy(), ridge=0.1)
    fit(seldom, task, squares, seed=seed, block=BLOCK)
    changed = replace(task, latency=LATER)
    followed: dict[str, list[int]] = {name: [] for name in BY}
    for cue in (0, 1):
        likely, again = int(np.argmax(PROBABILITY[cue])), copy.deepcopy(squares)
        again.reset()
        own, few = rule(trials, local.weight), slice(TESTED)
        runs = (
            (trials, learn(trials.of(cue)[few], changed, own, seed=seed + 1)),
            (seldom, fit(seldom.of(cue)[few], changed, copy.deepcopy(squares), seed=seed + 1)),
            (seldom, fit(seldom.of(cue)[few], changed, again, seed=seed + 1)),
        )
        for name, (of, run) in zip(BY, runs, strict=True):
            at = of.times, LATER[cue][likely]
            followed[name].append(trials_to_follow(run[..., likely], *at, within=TAU))

    high, low, even = ([pair] * CUES for pair in ([0.8, 0.2], [0.2, 0.8], [0.5, 0.5]))
    what = changes(trials, Prediction(high, CENTRE), Prediction(low, CENTRE))
    early, late = Prediction(even, CENTRE - MOVED), Prediction(even, CENTRE + MOVED)
    angles = shuffled_angles(what, changes(trials, early, late), CUES, seed=seed)
    late_by = when - task.l_ms
    return Outcome(trials.times, learned, late_by, float(slope), float(offset), followed, *angles)


def draw(path: str, found: Outcome) -> None:
    """Outputs after each cue, heights against probabilities, and angles."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for cue, panel in enumerate(axes.ravel()[:CUES]):
        panel.plot(found.times, found.learned[cue])
        for k in range(STIMULI):
            panel.plot(LATENCY[cue][k], PROBABILITY[cue][k], "o", color=f"C{k}")
        panel.set(title=f"after cue {cue}", xlabel="ms", ylabel="outputs", ylim=(-0.3, 1.1))
    heights, (height, angle) = found.learned.max(1), axes.ravel()[CUES:]
    height.plot([0, 1], [0, 1], color="gray")
    height.plot(np.ravel(PROBABILITY), heights.ravel(), "o")
    height.set(xlabel="probability", ylabel="height of the peak")
    angle.hist(found.shuffled, bins=30, color="gray", label="shuffled")
    angle.axvline(found.angle, color="C3", label="what against when")
    angle.set(xlabel="principal angle (degrees)")
    angle.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", default="what_when.png")
    options = parser.parse_args()
    found = experiment(options.seed, options.trials)
    print(f"seed {options.seed}, {options.trials} trials; wanted, as the paper gives no numbers:")
    print(f"peaks off their time by at most {np.abs(found.late).max():.0f} ms (<= {TAU:.0f})")
    print(f"height = {found.slope:.2f} x probability {found.offset:+.2f} (slope 1 +- 0.1)")
    for name in BY:
        of = ", ".join(f"{n}" if n <= TESTED else f"not in {TESTED}" for n in found.followed[name])
        print(f"trials to follow other latencies, {name}: {of}")
    above = np.quantile(found.shuffled, 0.95)
    print(f"angle of what and when {found.angle:.0f} degrees (> {above:.0f}, 95 % of shuffled)")
    draw(options.picture, found)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
