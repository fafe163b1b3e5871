"""FORCE: 2,000 chaotic spiking neurons learn to be a sine, and go on alone.

Random synapses make Izhikevich's neurons fire irregularly. A readout of their filtered spikes is
fed back to all. From 5 to 10 s recursive least squares pull it to a sine of 5 Hz; from then on its
weights rest, and the network is on its own. All constants are the published ones. Nothing holds the
phase then, and the frequency is nearly 5 Hz: errors are those of the best fit of a sine in any
phase, up to 5 % slower or faster.

A second target, a product of two sines (4 and 6 Hz), needs stronger synapses (G and Q of the
published song, 1e4 and 4e3); and 8 s; half of the neurons do.

    python examples/force_sine.py [--cell izhikevich] [--scale 1] [--seed 1] [--picture force.png]

Reference: W. Nicola, C. Clopath (2017), *Supervised learning in spiking neural networks with FORCE
training*, Nat. Commun. 8:2208, figure 2; ModelDB 190565. The paper shows the sine going on.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from spikesim.network.recipes.force import force
from spikesim.reservoir import RLS, Fit, fitted, train

DT = {"izhikevich": 0.04, "lif": 0.05, "theta": 0.01}  # ms
EVERY = {"izhikevich": 20, "lif": 50, "theta": 50}
"""Steps from one update to the next."""
RIDGE = {"izhikevich": 0.5, "lif": 0.2, "theta": 0.1}
"""Of filtered spikes per ms: P(0) is 2; per s, 0.1 dt of 5e-5 s and dt of 1e-5 s."""
SINE, PRODUCT = 200.0, 500.0  # ms: periods
BEFORE, AFTER, PART, SECOND = 5000.0, 5000.0, 100.0, 1000.0  # ms
Array = np.ndarray


@dataclass
class Outcome:
    """Of one network."""

    times: Array
    values: Array
    trained: float
    """Error in the last second of training, against the target's deviation."""
    parts: list[Fit]
    """Fits of each second alone."""
    rate: float
    """Hz, alone."""


def sine(ms: float) -> float:
    return float(np.sin(2 * np.pi * ms / SINE))


def product(ms: float) -> float:
    return float(np.sin(4 * np.pi * ms / PRODUCT) * np.sin(6 * np.pi * ms / PRODUCT))


def experiment(
    target: Callable[[float], float],
    period: float,
    *,
    seed: int,
    cell: str = "izhikevich",
    scale: float = 1.0,
    learning: float = 5000.0,
    gain: float | None = None,
    feedback: float | None = None,
) -> Outcome:
    """Run without learning, learn, and go on alone."""
    strength = {"gain": gain, "feedback": feedback}
    net = force(seed=seed, scale=scale, cell=cell, dt=DT[cell], **strength)  # type: ignore[arg-type]
    (readout,), every = net.readouts, EVERY[cell] * net.dt
    part = round(PART / every) * every
    rule = RLS(readout.weight, ridge=RIDGE[cell], gain="published")
    net.run(round(BEFORE / every) * every)
    probe = net.probe(readout, every=every)
    for _ in track(range(round(learning / part)), "learning"):
        train(net, readout, target, rule, part, every=every)
    end = net.time
    spikes = net.probe(readout.pre, "rate", every=SECOND)
    net.run(round(AFTER / every) * every)
    times, values = probe.times, probe.values[:, 0]
    last = (times > end - SECOND) & (times <= end)
    wanted = np.array([target(ms) for ms in times[last]])
    parts = []
    for first in np.arange(end, net.time - SECOND + every, SECOND):
        own = (times > first) & (times <= first + SECOND)
        parts.append(fitted(times[own], values[own], target, period))
    trained = float(np.sqrt(np.mean((values[last] - wanted) ** 2)) / wanted.std())
    return Outcome(times - end, values, trained, parts, float(spikes.values.mean()))


def draw(path: str, found: dict[str, Outcome], period: dict[str, float]) -> None:
    """The end of learning and the time alone."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(found), 1, figsize=(10, 5), layout="constrained")
    for axis, (name, outcome) in zip(axes, found.items(), strict=True):
        shown = np.abs(outcome.times) <= 5 * period[name]
        axis.plot(outcome.times[shown], outcome.values[shown])
        axis.axvline(0.0, color="gray", linestyle=":")
        axis.set(title=f"{name}: learning ends at 0", xlabel="ms", ylabel="output")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", choices=list(EVERY), default="izhikevich", help="for the sine")
    parser.add_argument("--scale", type=float, default=1.0, help="of 2,000 neurons")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", default="force.png")
    options = parser.parse_args()
    how = {"seed": options.seed, "scale": options.scale, "cell": options.cell}
    strong = {"learning": 8000.0, "gain": 1e4, "feedback": 4e3}
    half = {"seed": options.seed, "scale": 0.5 * options.scale}
    found = {
        "sine": experiment(sine, SINE, **how),
        "product": experiment(product, PRODUCT, **half, **strong),  # type: ignore[arg-type]
    }
    for name, outcome in found.items():
        errors = ", ".join(f"{fit.error:.2f}" for fit in outcome.parts)
        speeds = ", ".join(f"{fit.speed:.3f}" for fit in outcome.parts)
        print(f"{name}: error {outcome.trained:.3f} as learning ends, {outcome.rate:.0f} Hz alone")
        print(f"  alone, each second: error {errors}; speed {speeds} (paper: goes on, no number)")
    draw(options.picture, found, {"sine": SINE, "product": PRODUCT})
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
