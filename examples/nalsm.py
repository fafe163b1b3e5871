"""A liquid that one astrocyte holds near the edge of chaos, and what its spikes tell of digits.

1,000 neurons on a grid hear 250 ms of a digit. Their synapses learn by STDP while they listen; the
astrocyte, which compares the spikes of the liquid with those of its input, sets how strong the
depression is. Only a linear readout of spike counts is trained. Beside it: the same readout of the
input's own events, and of the liquid without astrocyte or without plasticity (--controls).

    python examples/nalsm.py                        # 2 of 5 folds of 1,100 recordings of N-MNIST
    python examples/nalsm.py --folds 5 --controls
    python examples/nalsm.py --nmnist FOLDER        # its own training and test part
    python examples/nalsm.py --mnist FOLDER --out nalsm-mnist --threads 8   # resumed if stopped

Reference: V. A. Ivanov, K. P. Michmizos (2021), *Increasing liquid state machine performance with
edge-of-chaos dynamics organized by astrocyte-modulated plasticity*, NeurIPS 34: 97.61 % on MNIST,
97.51 % on N-MNIST with 8,000 neurons and all training digits.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.datasets import load
from spikesim.datasets.readers.idx import read_idx
from spikesim.liquid.branching import branching_factor
from spikesim.liquid.nalsm import Activity, AstrocyteLiquid, Constants
from spikesim.liquid.readout import Score, fit_readout
from spikesim.liquid.stimuli import (
    CameraStimuli,
    PoissonStimuli,
    Stimuli,
    brightness,
    event_counts,
)
from spikesim.liquid.stored import settled, stored_counts
from spikesim.liquid.topology import Topology

PENALTIES = (5e-10, 1e-6, 1e-5, 1e-4)
LIQUIDS = {
    "NALSM": Constants(),
    "LSM + STDP": Constants(gain=0.0),
    "LSM": Constants(rate=0.0, gain=0.0),
}
PUBLISHED = {"mnist": 97.61, "nmnist": 97.51}
Labels: TypeAlias = NDArray[np.int64]
Part: TypeAlias = tuple[Stimuli, Labels]


@dataclass(frozen=True)
class Found:
    """Scores of readouts by name, branching factors at first and at last, and one stimulus."""

    scores: dict[str, Score]
    factors: tuple[float, float]
    activity: Activity


def nmnist(root: Path | None, fold: int | None, seed: int) -> tuple[Part, Part, Part]:
    """Training, validation (a tenth of it) and test part."""
    fold_of = None if fold is None else (fold, 5)
    parts = []
    for split in ("train", "test"):
        data = load("nmnist", split, root=root, representation="events", fold=fold_of)
        events = [data.events(i) for i in range(len(data))]
        labels = np.array([int(data.classes[k]) for k in data.targets])
        parts.append((events, labels))
    (events, labels), test = parts
    order = np.random.default_rng(seed).permutation(len(events))
    valid, train = np.split(order, [len(order) // 10])
    rows = [([events[i] for i in some], labels[some]) for some in (train, valid)]
    train_part, valid_part, test_part = ((CameraStimuli(e, seed=seed), y) for e, y in (*rows, test))
    return train_part, valid_part, test_part


def mnist(folder: Path, train: int, seed: int) -> tuple[Part, Part, Part]:
    """The published split: 50,000 (or the first of them), 10,000, 10,000, each with its maximum."""
    x, y, test_x, test_y = (
        read_idx(folder / f"{name}-ubyte.gz")
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3",
                     "t10k-labels-idx1")
    )  # fmt: skip
    first, rest = (brightness(part) for part in (x[:50_000], x[50_000:]))
    return (
        (PoissonStimuli(first[:train], seed), y[:train].astype(np.int64)),
        (PoissonStimuli(rest, seed + 1), y[50_000:].astype(np.int64)),
        (PoissonStimuli(brightness(test_x), seed + 2), test_y.astype(np.int64)),
    )


def experiment(
    parts: tuple[Part, Part, Part],
    folder: Path,
    *,
    names: tuple[str, ...] = ("NALSM",),
    snapshots: int = 4000,
    grid: tuple[int, int, int] = (10, 10, 10),
    gain: float = Constants().gain,
    seed: int = 0,
    threads: int = 1,
) -> Found:
    """Settle liquids on the training part, and read out what they and the input tell."""
    (train, y), (_, valid_y), (_, test_y) = parts
    counts = [event_counts(stimuli) for stimuli, _ in parts]
    scores, first, last = {}, None, None
    for name in ("input alone", *names):
        if name != "input alone":
            constants = replace(LIQUIDS[name], gain=gain) if name == "NALSM" else LIQUIDS[name]
            liquid = AstrocyteLiquid(Topology(train.inputs, grid).draw(seed), constants)
            place, events = folder / name.replace(" ", ""), train.show(0, 250)
            start = liquid.record(events)
            settled(liquid, train, place, snapshots, seed=seed)
            counts = [
                stored_counts(liquid, stimuli, place, part, threads=threads,  # type: ignore[misc]
                              told=lambda n, of: print(f"\r{n} of {of}", end="   "))
                for part, (stimuli, _) in zip(("train", "valid", "test"), parts, strict=True)
            ]  # fmt: skip
            if first is None:
                first, last = start, liquid.record(events)
        readout = fit_readout(counts[0], y, (counts[1], valid_y), penalties=PENALTIES)
        scores[name] = readout.score(counts[2], test_y)
    assert first is not None
    assert last is not None
    wiring = liquid.wiring
    factors = [branching_factor(activity.liquid, wiring) for activity in (first, last)]
    return Found(scores, (factors[0], factors[1]), last)


def draw(path: str, found: Found, scores: dict[str, Score]) -> None:
    """Spikes and the astrocyte while a digit is shown, and the accuracies with intervals."""
    import matplotlib.pyplot as plt

    figure, (top, middle, low) = plt.subplots(3, 1, figsize=(8, 9), layout="constrained")
    at, who = np.nonzero(found.activity.liquid)
    top.plot(at, who, "k.", markersize=1)
    top.set(xlabel="ms", ylabel="neuron of the liquid")
    for name, spikes in (("liquid", found.activity.liquid), ("input", found.activity.inputs)):
        middle.plot(spikes.sum(1), label=f"spikes of the {name}")
    middle.plot(100 * found.activity.astrocyte, label="astrocyte x 100")
    middle.set(xlabel="ms")
    middle.legend()
    values = [100 * score.accuracy for score in scores.values()]
    ends = 100 * np.array([score.interval for score in scores.values()]).T
    low.bar(list(scores), values, yerr=np.abs(ends - values), color="gray", capsize=4)
    low.set(ylabel="accuracy (%)", ylim=(min(ends[0]) - 5, 100))
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=2, help="of 5, of the recordings shipped")
    parser.add_argument("--nmnist", type=Path, help="folder or archive of more recordings")
    parser.add_argument("--mnist", type=Path, help="folder of the four files of MNIST")
    parser.add_argument("--train", type=int, default=50_000, help="digits of MNIST to train on")
    parser.add_argument("--snapshots", type=int, default=4000, help="published: 50,000")
    parser.add_argument("--side", type=int, default=10, help="of the grid; 20: 8,000 neurons")
    parser.add_argument("--gain", type=float, default=Constants().gain,
                        help="of the astrocyte; published for 8,000 neurons: 0.0075")  # fmt: skip
    parser.add_argument("--controls", action="store_true", help="two more liquids")
    parser.add_argument("--out", type=Path, help="keeps spike counts, to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", default="nalsm.png")
    options = parser.parse_args()
    shipped = options.mnist is None and options.nmnist is None
    names = tuple(LIQUIDS) if options.controls else ("NALSM",)
    totals: dict[str, Score] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        for fold in range(options.folds if shipped else 1):
            parts = (
                mnist(options.mnist, options.train, options.seed)
                if options.mnist
                else nmnist(options.nmnist, fold if shipped else None, options.seed)
            )
            found = experiment(
                parts, folder / f"part{fold}", names=names, snapshots=options.snapshots,
                grid=(options.side,) * 3, gain=options.gain, seed=options.seed,
                threads=options.threads,
            )  # fmt: skip
            print(f"\rpart {fold}: trained on {len(parts[0][1])} digits; branching factor "
                  f"{found.factors[0]:.2f} at first, {found.factors[1]:.2f} settled")  # fmt: skip
            for name, score in found.scores.items():
                totals[name] = totals[name] + score if name in totals else score
    for name, score in totals.items():
        print(f"{name:12} {score}")
    print(f"published: {PUBLISHED['mnist' if options.mnist else 'nmnist']} % (8,000 neurons)")
    draw(options.picture, found, totals)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
