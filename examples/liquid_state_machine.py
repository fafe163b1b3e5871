"""A liquid state machine: a random column of neurons makes spike trains easy to tell apart.

Two trains play one of eight templates after another, each spike displaced by 4 ms. From the state
of the column (spikes of its 135 neurons, filtered with 30 ms) a linear readout tells which template
plays, and which one played before. Controls: the same readout of the input's own filtered spikes,
and labels that are shuffled.

    python examples/liquid_state_machine.py [--seeds 3] [--dynamic] [--picture liquid.png]

Reference: Maass, Natschläger, Markram (2002), *Real-time computing without stable states: a new
framework for neural computation based on perturbations*, Neural Comput. 14:2531; templates as in
its figures 7 and 8.
"""

import argparse

import numpy as np

from spikesim.network import Network
from spikesim.network.recipes.liquid import column

TRAINS, TEMPLATES, RATE, SEGMENT, JITTER = 2, 8, 20.0, 250.0, 4.0  # Hz, ms, ms
TAU, EVERY, PENALTY = 30.0, 25.0, 3.0
READOUTS = ("liquid", "input", "shuffled")
Array = np.ndarray


def stimulus(random: np.random.Generator, segments: int) -> tuple[Array, Array, Array]:
    """The template of each segment, and times (ms) and senders of all spikes."""
    counts = random.poisson(RATE * SEGMENT * 1e-3, (TEMPLATES, TRAINS))
    templates = [[random.uniform(0.0, SEGMENT, n) for n in row] for row in counts]
    labels = random.integers(0, TEMPLATES, segments)
    times, senders = [], []
    for segment, label in enumerate(labels):
        for train, spikes in enumerate(templates[label]):
            moved = spikes + random.normal(0.0, JITTER, len(spikes))
            times.append(segment * SEGMENT + np.clip(moved, 0.0, SEGMENT - 0.1))
            senders.append(np.full(len(spikes), train))
    return labels, np.concatenate(times), np.concatenate(senders)


def states(times: Array, senders: Array, size: int, segments: int) -> Array:
    """Filtered spikes ``[segments, times, neurons]``, every 25 ms."""
    count = round(segments * SEGMENT / EVERY)
    ends = EVERY * (1 + np.arange(count))
    row = np.ceil(times / EVERY - 1e-6).astype(int) - 1
    filtered = np.zeros((count, size))
    np.add.at(filtered, (row, senders), np.exp((times - ends[row]) / TAU))
    for i in range(1, count):
        filtered[i] += np.exp(-EVERY / TAU) * filtered[i - 1]
    return filtered.reshape(segments, -1, size)


def accuracy(x: Array, labels: Array) -> float:
    """Ridge regression on the first half of the segments, tested on the second."""
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    half = len(x) // 2
    targets = np.eye(TEMPLATES)[labels[:half]]
    gram = x[:half].T @ x[:half] + PENALTY * np.eye(x.shape[1])
    told = x[half:] @ np.linalg.solve(gram, x[:half].T @ targets)
    return float((told.argmax(1) == labels[half:]).mean())


def experiment(
    seed: int, segments: int, *, dynamic: bool = False
) -> tuple[dict[str, Array], Network]:
    """Accuracies ``[times]`` over the segment of a template and the next, and the network."""
    random = np.random.default_rng(seed)
    labels, times, senders = stimulus(random, segments)
    net = Network(dt=0.1, seed=seed)
    source = net.spikes(times, senders, TRAINS, name="input")
    cells = column(net, source, settled=None if dynamic else 20.0)
    probes = [net.probe(population, "spikes") for population in cells]
    net.run(segments * SEGMENT)
    parts = [states(p.times, p.senders, len(p.group), segments) for p in probes]
    x = {
        "liquid": np.concatenate(parts, axis=2),
        "input": states(times, senders, TRAINS, segments),
    }
    x["shuffled"] = x["liquid"]
    wanted = {"liquid": labels, "input": labels, "shuffled": random.permutation(labels)}
    found: dict[str, list[float]] = {name: [] for name in READOUTS}
    for back in (0, 1):  # segments ago
        for name in READOUTS:
            for k in range(x[name].shape[1]):
                found[name].append(accuracy(x[name][back:, k], wanted[name][: segments - back]))
    return {name: np.array(values) for name, values in found.items()}, net


def draw(path: str, curves: dict[str, Array]) -> None:
    """Accuracy over time, mean and range of the seeds."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    t = EVERY * (1 + np.arange(next(iter(curves.values())).shape[1]))
    for name, values in curves.items():
        axes.plot(t, values.mean(0), label=name)
        axes.fill_between(t, values.min(0), values.max(0), alpha=0.2)
    axes.axvline(SEGMENT, color="gray", linestyle=":")
    axes.axhline(1 / TEMPLATES, color="gray", linestyle="--")
    axes.text(SEGMENT, 1.03, " the next template plays")
    axes.set(xlabel="time since the template began (ms)", ylabel="accuracy", ylim=(0, 1.1))
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--segments", type=int, default=800)
    parser.add_argument("--dynamic", action="store_true", help="synapses that tire and recover")
    parser.add_argument("--picture", default="liquid.png")
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        found, net = experiment(seed, options.segments, dynamic=options.dynamic)
        runs.append(found)
        print(f"seed {seed}: {net.neurons} neurons, {net.synapses} synapses, "
              f"{net.time / 1e3:.0f} s")  # fmt: skip
    curves = {name: np.stack([found[name] for found in runs]) for name in READOUTS}
    end = round(SEGMENT / EVERY) - 1
    print(f"accuracy of {TEMPLATES} templates, mean (least, largest) over seeds")
    print(f"{'readout of':12}{'as it ends':>20}{'50 ms later':>20}")
    for name, values in curves.items():
        told = (values[:, at] for at in (end, end + round(50.0 / EVERY)))
        print(f"{name:12}" + "".join(
            f"{v.mean():8.2f} ({v.min():.2f}, {v.max():.2f})" for v in told))  # fmt: skip
    draw(options.picture, curves)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
