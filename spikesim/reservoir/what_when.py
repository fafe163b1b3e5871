"""Learning to predict from a reservoir: activity in trials, and readouts trained on it.

Readouts that do not act back change nothing in the reservoir, so that its activity is recorded
once and any number of rules learn from it, step by step and trial by trial, as they would during
the run.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network.given import whole
from spikesim.network.network import Network
from spikesim.network.population import Population
from spikesim.network.recipes.what_when import cue_of
from spikesim.reservoir.rls import RLS, Array
from spikesim.reservoir.task import Prediction
from spikesim.reservoir.three_factor import ThreeFactor


@dataclass(frozen=True, eq=False)
class Trials:
    """What a reservoir did.

    Args:
        times: after the cue began, ms, ``[steps]``.
        cues: of each trial, ``[trials]``.
        r: filtered spikes ``[trials, steps, neurons]``, 1/ms.
    """

    times: Array
    cues: NDArray[np.int64]
    r: NDArray[np.floating]

    def of(self, cue: int) -> "Trials":
        """Those of a cue."""
        chosen = self.cues == cue
        return Trials(self.times, self.cues[chosen], self.r[chosen])

    def __getitem__(self, part: slice) -> "Trials":
        return Trials(self.times, self.cues[part], self.r[part])

    def __len__(self) -> int:
        return len(self.cues)

    @cached_property
    def power(self) -> float:
        """Mean square of the activity of all neurons together: rates are in units of 1 / this."""
        total = sum(float(np.vdot(part, part)) for part in self.r)
        return total / (len(self) * len(self.times))


def record(
    net: Network,
    count: int,
    *,
    cues: int = 4,
    trial: float = 1500.0,
    until: float = 500.0,
    every: float = 5.0,
) -> Trials:
    """Run trials of :func:`~spikesim.network.recipes.what_when.what_when`.

    Args:
        net: the network, at the beginning of a trial.
        count: how many.
        cues, trial: as it was made with.
        until: what is kept of a trial, ms.
        every: ms from one step to the next.

    Raises:
        UserError: a network of other populations or amid a trial, no trials, or ``until`` beyond
            one.
    """
    first, steps = round(net.time / trial), round(until / every)
    if len(net.groups) != 1 or not isinstance(cells := net.groups[0], Population):
        raise UserError(f"trials are of a network of one population, got {len(net.groups)} groups")
    if abs(first * trial - net.time) > 1e-6 * trial:
        raise UserError(f"a trial begins each {trial} ms, but the network is at {net.time} ms")
    if until > trial:
        raise UserError(f"until must be at most trial = {trial} ms, got {until}")
    whole("count", count, 1)
    probe, kept = net.probe(cells, "r", every=every), []
    for _ in range(count):
        net.run(trial)
        kept.append(probe.values[:steps].copy())
        probe.clear()
    net.probes.remove(probe)
    shown = [cue_of(n, cues, net.seed) for n in range(first, first + count)]
    times: Array = every * np.arange(1.0, steps + 1.0)
    return Trials(times, np.array(shown), np.array(kept))


def learn(
    trials: Trials, task: Prediction, rule: ThreeFactor, *, seed: int, block: int = 1
) -> Array:
    """Let a three-factor rule follow what a task sends; outputs ``[trials, steps, stimuli]``."""
    found = np.empty((*trials.r.shape[:2], len(rule.weight)))
    stimuli = task.draw(trials.cues, seed=seed, block=block)
    for n, (cue, stimulus) in enumerate(zip(trials.cues.tolist(), stimuli.tolist(), strict=True)):
        target, gate = task.target(cue, stimulus, trials.times), task.gate(cue, trials.times)
        for t, r in enumerate(trials.r[n]):
            found[n, t] = rule.step(r, target[t], gate[t])
        rule.end_trial()
    return found


def fit(trials: Trials, task: Prediction, rule: RLS, *, seed: int, block: int = 1) -> Array:
    """Let least squares follow the same targets at all times; outputs as of :func:`learn`."""
    found = np.empty((*trials.r.shape[:2], len(rule.weight)))
    stimuli = task.draw(trials.cues, seed=seed, block=block)
    for n, (cue, stimulus) in enumerate(zip(trials.cues.tolist(), stimuli.tolist(), strict=True)):
        target = task.target(cue, stimulus, trials.times)
        for t, r in enumerate(trials.r[n]):
            found[n, t] = rule.weight @ r
            rule.update(r, found[n, t] - target[t])
    return found


def peaks(outputs: Array, times: Array) -> tuple[Array, Array]:
    """When and how high outputs ``[..., steps, stimuli]`` are largest, each ``[..., stimuli]``."""
    return times[outputs.argmax(-2)], outputs.max(-2)


def trials_to_follow(
    outputs: Array, times: Array, latency: float, *, within: float, window: int = 3, held: int = 5
) -> int:
    """After how many trials an output ``[trials, steps]`` peaks at a latency, some times in a row.

    Args:
        outputs: of one stimulus, after the change.
        times: of steps, ms.
        latency: the new one, ms.
        within: largest distance, ms.
        window: trials whose mean is looked at: single ones are noisy.
        held: times in a row.

    Returns:
        Trials up to the first of these means, or one more than all where there is none.
    """
    kernel = np.ones(window) / window
    smooth = np.apply_along_axis(lambda x: np.convolve(x, kernel, "valid"), 0, outputs)
    is_right = np.abs(times[smooth.argmax(1)] - latency) <= within
    runs = np.convolve(is_right, np.ones(held), "valid")
    found = np.flatnonzero(runs == held)
    return int(found[0]) + window if len(found) else len(outputs) + 1
