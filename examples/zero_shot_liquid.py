"""Find the picture of a digit by the sound of its name, with digits that were never paired before.

One random liquid sees N-MNIST, another hears spoken digits as spikes of a cochlea. Nothing of them
is trained: their weights are those of a resistive memory. Two linear projections of their spike
counts learn, on pairs of digits 1 to 7, to meet; then pictures are retrieved by sounds, of digits 1
to 7 and of 8 and 9. Beside it: pairs that were shuffled, the same projections of the input's own
counts, and supervised readouts of either.

    python examples/zero_shot_liquid.py --fsdd FOLDER [--nmnist FOLDER] [--read-noise 0.1]

FOLDER of fsdd: its recordings, or an archive of them; --nmnist adds recordings to the 1,100 that
are shipped, all that a digit has.

Reference: N. Lin, S. Wang et al. (2025), *Resistive memory-based zero-shot liquid state machine for
multimodal event data learning*, Nat. Comput. Sci. 5:37 (N-MNIST with N-TIDIGITS, 60,000 pictures).
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from spikesim.datasets import load
from spikesim.liquid.contrastive import fit_projections, pairs_by_class, retrieve
from spikesim.liquid.random_liquid import RandomLiquid, central
from spikesim.liquid.readout import Score, fit_readout
from spikesim.liquid.resistive import ResistiveArray

SEEN, UNSEEN, GALLERY = (1, 2, 3, 4, 5, 6, 7), (8, 9), 100
STEPS = {"picture": 50, "sound": 129}
# Standard deviation of the weights: from 0.03 to 2, by supervised readouts of validation digits.
STD = {"picture": 0.2, "sound": 0.15}
CELL = {"picture": (0.9, 5.0), "sound": (0.97, 5.3)}  # decay, threshold
SCALE = 10.0  # of spike counts
PUBLISHED = {
    "picture": "89.11 %",
    "sound": "70.79 % (N-TIDIGITS)",
    "seen digits": "66.1 %",
    "unseen digits": "88.0 %",
}
Labels: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Binary frames ``[T, n, inputs]`` as bytes, and digits ``[n]``."""

    frames: Tensor
    labels: Labels

    def features(self, liquid: RandomLiquid | None) -> Tensor:
        """Spike counts of the liquid, or the input's own."""
        parts = self.frames.split(500, dim=1)  # type: ignore[no-untyped-call]
        counts = [x.float().sum(0) if liquid is None else liquid(x.float()) for x in parts]
        return torch.cat(counts) / SCALE


def part(kind: str, split: str, roots: list[Path | None]) -> Part:
    """All recordings of a split; of pictures the middle of one polarity."""
    name = "nmnist" if kind == "picture" else "fsdd"
    frames, labels = [], []
    for root in roots:
        data = load(name, split, root=root, steps=STEPS[kind], values="binary")
        for rows in np.array_split(np.arange(len(data)), max(len(data) // 200, 1)):
            x, y = data.__getitems__(rows.tolist())
            assert isinstance(x, Tensor)
            frames.append((central(x) if kind == "picture" else x.flatten(2)).to(torch.uint8))
            labels += [int(data.classes[k]) for k in y]
    return Part(torch.cat(frames, 1), np.array(labels))


def supervised(train: Tensor, y: Labels, test: Tensor, test_y: Labels, seed: int) -> Score:
    """A linear readout; a sixth of the training part chooses its penalty."""
    order = np.random.default_rng(seed).permutation(len(y))
    few, most = np.split(order, [len(y) // 6])
    readout = fit_readout(
        train[most], y[most], (train[few], y[few]), penalties=(1e-4, 1e-3, 1e-2), soft=False,
        shares=False, epochs=30,
    )  # fmt: skip
    return readout.score(test, test_y)


def experiment(
    parts: dict[tuple[str, str], Part],
    seed: int,
    *,
    neurons: int = 1000,
    read_noise: float = 0.0,
    epochs: int = 10,
) -> dict[tuple[str, str], Score]:
    """Scores by what is asked and of which features."""
    found = {}
    x: dict[tuple[str, str], Tensor] = {}
    y = {at: some.labels for at, some in parts.items()}
    for source in ("liquid", "shuffled pairs", "input alone"):
        for kind in STEPS if source != "shuffled pairs" else ():
            decay, threshold = CELL[kind]
            array = ResistiveArray(STD[kind], read_noise=read_noise)
            liquid = RandomLiquid(
                parts[kind, "train"].frames.shape[2], array, neurons=neurons, decay=decay,
                threshold=threshold, seed=2 * seed + (kind == "sound"),
            )  # fmt: skip
            for split in ("train", "test"):
                one = parts[kind, split]
                x[kind, split] = one.features(None if source == "input alone" else liquid)
            found[kind, source] = supervised(
                x[kind, "train"], y[kind, "train"], x[kind, "test"], y[kind, "test"], seed
            )
        i, j = pairs_by_class(y["picture", "train"], y["sound", "train"], SEEN)
        if source == "shuffled pairs":
            j = np.random.default_rng(seed).permutation(j)
        seen, heard = fit_projections(
            x["picture", "train"][i], x["sound", "train"][j], epochs=epochs, seed=seed
        )
        for name, digits in (("seen digits", SEEN), ("unseen digits", UNSEEN)):
            labels = y["picture", "test"]
            gallery = np.concatenate([np.flatnonzero(labels == d)[:GALLERY] for d in digits])
            query = np.isin(y["sound", "test"], digits)
            with torch.no_grad():
                found[name, source] = retrieve(
                    heard(x["sound", "test"][query]), seen(x["picture", "test"][gallery]),
                    y["sound", "test"][query], labels[gallery],
                )  # fmt: skip
    return found


def draw(path: str, runs: list[dict[tuple[str, str], Score]]) -> None:
    """The accuracies of each seed as dots, and their mean."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for at, key in enumerate(runs[0]):
        values = [100 * run[key].accuracy for run in runs]
        axes.plot([at] * len(values), values, "o", color="gray")
        axes.plot(at, np.mean(values), "_", color="C3", markersize=24)
    axes.set_xticks(range(len(runs[0])), [" ".join(key) for key in runs[0]], rotation=60)
    axes.set(ylabel="accuracy (%), a dot a seed", ylim=(0, 100))
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fsdd", type=Path, help="recordings; default: $SPIKESIM_DATA/fsdd")
    parser.add_argument("--nmnist", type=Path, help="recordings beside those shipped")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--neurons", type=int, default=1000, help="of either liquid")
    parser.add_argument("--epochs", type=int, default=10, help="of the projections; paper: 100")
    parser.add_argument("--read-noise", type=float, default=0.0, help="part of a weight")
    parser.add_argument("--picture", default="zero_shot_liquid.png")
    options = parser.parse_args()
    pictures = [None] if options.nmnist is None else [None, options.nmnist]
    parts = {
        (kind, split): part(kind, split, pictures if kind == "picture" else [options.fsdd])
        for kind in STEPS
        for split in ("train", "test")
    }
    runs = [
        experiment(parts, seed, neurons=options.neurons, read_noise=options.read_noise,
                   epochs=options.epochs)
        for seed in track(range(options.seeds), "seeds")
    ]  # fmt: skip
    print(f"{'':16}{'of':16}mean (least, largest) of {options.seeds} seeds; published, software")
    for what, source in runs[0]:
        values = [100 * run[what, source].accuracy for run in runs]
        total = runs[0][what, source].total
        print(f"{what:16}{source:16}{np.mean(values):.1f} % ({min(values):.1f}, {max(values):.1f}) "
              f"of {total}; {PUBLISHED[what] if source == 'liquid' else '-'}")  # fmt: skip
    print("chance: 14.3 % of seen, 50 % of unseen digits")
    draw(options.picture, runs)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
