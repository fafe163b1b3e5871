"""FORCE in a network: a readout that acts back learns to make a signal, and then goes on alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikesim.errors import UserError
from spikesim.network.network import Network
from spikesim.network.readout import Readout
from spikesim.reservoir.rls import RLS, Array

Signal = Callable[[float], ArrayLike]
"""A target ``[outputs]``, or one value, of the time in ms."""


def train(
    net: Network, readout: Readout, target: Signal, rule: RLS, ms: float, *, every: float
) -> None:
    """Run with the readout changed by recursive least squares.

    Args:
        net: what runs.
        readout: whose outputs are to be the target; ``rule`` changes its weights.
        target: of the time of the network.
        rule: of ``readout.weight``.
        ms: how long, a multiple of ``every``.
        every: ms from one change to the next, > 0.

    Raises:
        UserError: a readout of another network, a rule of other weights, or ``ms`` that is no
            multiple.
    """
    if readout not in net.readouts:
        raise UserError(f"{readout.name!r} is not of this network")
    if rule.weight is not readout.weight:
        raise UserError("the rule changes other weights: make it RLS(readout.weight, ...)")
    if not (every > 0 and ms >= 0):
        raise UserError(f"every must be > 0 and ms >= 0, got {every} and {ms} ms")
    count = round(ms / every)
    if abs(count * every - ms) > 1e-6 * every:
        raise UserError(f"ms must be a multiple of every = {every} ms, got {ms}")
    r = readout.pre.state[readout.state]
    for _ in range(count):
        net.run(every)
        rule.update(r, readout.value - np.asarray(target(net.time)))


@dataclass(frozen=True)
class Fit:
    """How a signal that goes on alone fits its target."""

    error: float
    """Root of the mean squared error over the target's deviation, at best."""
    speed: float
    """Of the signal, against the target's."""
    shift: float
    """Of the signal at first: where in its period the target is then, ms."""


def fitted(
    times: NDArray[np.floating],
    values: NDArray[np.floating],
    target: Signal,
    period: float,
    *,
    slack: float = 0.05,
    steps: int = 40,
) -> Fit:
    """The best fit of a periodic target in any phase, a little slower or faster.

    Nothing holds the phase of a signal that makes itself, and its period is nearly the target's.

    Args:
        times: ms, ``[samples]``.
        values: of the signal, ``[samples]``.
        target: what it should be.
        period: of the target, ms.
        slack: largest share by which it may be slower or faster.
        steps: phases, and speeds to either side, that are tried at first; then ten times finer.

    >>> t = np.arange(0.0, 1000.0, 2.0)
    >>> wave = lambda ms: np.sin(2 * np.pi * ms / 200.0)
    >>> found = fitted(t, wave(1.01 * t + 30.0), wave, 200.0)
    >>> round(found.error, 2), round(found.speed, 3), round(found.shift)
    (0.0, 1.01, 30)
    """
    since = np.asarray(times, np.float64) - times[0]
    one_period = np.arange(2048) * (period / 2048)
    table: Array = np.array([np.asarray(target(ms), np.float64).reshape(()) for ms in one_period])

    def error(speed: float, shift: float) -> float:
        place = np.rint((speed * since + shift) * (2048 / period)).astype(np.int64) % 2048
        return float(np.sqrt(np.mean((values - table[place]) ** 2)) / table.std())

    best, wide, long = (np.inf, 1.0, 0.0), slack, period / 2
    for _ in range(3):
        speeds = best[1] + wide * np.linspace(-1.0, 1.0, 2 * steps + 1)
        shifts = best[2] + long * np.linspace(-1.0, 1.0, steps + 1)
        best = min((error(v, s), float(v), float(s)) for v in speeds for s in shifts)
        wide, long = wide / 10, long / 10
    return Fit(best[0], best[1], best[2] % period)
