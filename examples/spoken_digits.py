"""Learned delays on spoken digits: a network hears six speakers, and is tested on a seventh.

Words are spikes of a simple cochlea (Free Spoken Digit Dataset, 6 speakers; five are heard). Two
hidden layers of neurons that forget within a step of 10 ms: what came before reaches them through
delays of up to 240 ms. Three networks learn the same way: delays are learned with the weights, stay
as they were drawn, or are left out, the layers being wider for as many learned numbers.

    SPIKESIM_DATA=... python examples/spoken_digits.py [--speakers theo ...] [--seeds 1]
    python examples/spoken_digits.py --speakers all --seeds 3   # the whole comparison: hours

Each network is a run in ``--runs``; what is finished there is read, and what was cut goes on.

Reference: Hammouamri, Khalfaoui-Hassani and Masquelier (2024), Learning delays in SNNs using DCLS,
ICLR: on the Heidelberg digits 95.07 % with learned delays; on all their data learned delays are
better than fixed ones, and these than none.
"""

import argparse
import math
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.delays import Delayed
from spikesim.models import create
from spikesim.train.config import Config
from spikesim.train.loop import train
from spikesim.train.run import Run

RECIPE = "fsdd-dcls"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
CHOSEN_ON = ("george", "jackson")
"""Settings of the recipe were chosen by the accuracy on these two, held out; never on others."""

ARMS = ("learned", "fixed", "none")
Array: TypeAlias = NDArray[Any]


def sizes(arm: str, base: Config) -> dict[str, Any]:
    """The network of an arm; without delays as wide as gives no fewer learned numbers."""
    published = dict(base.model.sizes)
    if arm == "learned":
        return published
    if arm == "fixed":
        return {**published, "learn": False}
    wanted = parameters(published, base)
    wider = ({**published, "delays": "none", "hidden": f"{n}-{n}"} for n in count(1))
    return next(one for one in wider if parameters(one, base) >= wanted)


def parameters(chosen: dict[str, Any], base: Config) -> int:
    """Learned numbers of a network."""
    preset, frame = base.model.preset, base.data.size
    assert isinstance(frame, tuple)
    model = create(
        base.model.name, num_classes=10, steps=base.data.steps, in_channels=1, image_size=frame,
        preset=preset, **chosen,
    )  # fmt: skip
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def settings(arm: str, speaker: str, seed: int, folder: Path, others: Sequence[str]) -> Config:
    """The run of an arm that is tested on a speaker."""
    base = Config.load(RECIPE, others)
    chosen = ", ".join(f"{name}: {value}".lower() for name, value in sizes(arm, base).items())
    without = ["train.groups={}"] if arm == "none" else []
    return Config.load(
        RECIPE,
        [
            *others, *without, f"run.dir={folder}", f"run.name={arm}-{speaker}-{seed}",
            f"data.held_out=[{speaker}]", f"train.seed={seed}", f"model.sizes={{{chosen}}}",
            "train.report=false", "train.tensorboard=false", "train.monitor_steps=0",
        ],
    )  # fmt: skip


def accuracy(config: Config) -> float:
    """What a run gave; it is begun, taken up or only read."""
    path = config.run.path
    result = Run(path).result if path.exists() else None
    return (result or train(config, resume=path.exists())).accuracy


def interval(values: Array) -> tuple[float, float]:
    """Mean of independent values, and the half width of its 95 % interval (Student's t)."""
    from scipy.stats import t

    if len(values) < 2:
        return float(values.mean()), math.nan
    wide = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(wide)


def table(found: Array, speakers: Sequence[str]) -> str:
    """Accuracies ``[arm, speaker, seed]`` in words; a speaker's seeds count as one, their mean."""
    by_speaker = 100 * found.mean(-1)
    lines = [f"{'test speaker':<22}" + "".join(f"{arm:>9}" for arm in ARMS)]
    for name, row in zip(speakers, by_speaker.T, strict=True):
        mark = " *" if name in CHOSEN_ON else ""
        lines.append(f"{name + mark:<22}" + "".join(f"{value:9.1f}" for value in row))
    lines.append(f"{'mean':<22}" + "".join(f"{value:9.1f}" for value in by_speaker.mean(1)))
    unseen = [i for i, name in enumerate(speakers) if name not in CHOSEN_ON]
    for arm in (1, 2):
        for rows, whom in ((range(len(speakers)), "all"), (unseen, "without *")):
            if len(rows) and (whom == "all" or len(rows) < len(speakers)):
                mean, wide = interval((by_speaker[0] - by_speaker[arm])[list(rows)])
                lines.append(
                    f"learned - {ARMS[arm]}, {whom} ({len(rows)} speakers): {mean:+.1f} points"
                    + (
                        ""
                        if math.isnan(wide)
                        else f", 95 % interval {mean - wide:+.1f} to {mean + wide:+.1f}"
                    )
                )
    return "\n".join([*lines, "* settings were chosen on these two speakers"])


def draw(path: Path, found: Array, speakers: Sequence[str], learned: Path) -> None:
    """Accuracies by speaker, and where the delays went."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    place = np.arange(len(speakers))
    for k, arm in enumerate(ARMS):
        values = 100 * found[k]
        left.bar(place + 0.27 * (k - 1), values.mean(-1), 0.25, label=arm, color=f"C{k}", alpha=0.6)
        left.plot(place[:, None] + 0.27 * (k - 1) + 0 * values, values, ".", color=f"C{k}")
    left.axhline(10, color="gray", linewidth=0.6)
    left.set(
        xticks=place, xticklabels=speakers, ylabel="accuracy on this speaker (%)", ylim=(0, 100)
    )
    left.legend(title="delays", loc="upper left", ncols=3)
    layers = [m for m in Run(learned).model().modules() if isinstance(m, Delayed)]
    for layer, name in zip(layers, ("hidden 1", "hidden 2", "readout"), strict=True):
        delay, weight = (p.detach().flatten() for p in (10 * layer.delay, layer.weight.abs()))
        right.hist(delay, 24, weights=weight, density=True, histtype="step", label=name)
    right.set(xlabel="learned delay (ms)", ylabel="share of the weights' sizes, per ms")
    right.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speakers", nargs="+", default=["theo"], help="tested on; all: six runs")
    parser.add_argument("--seeds", type=int, default=1, help="networks of each kind and speaker")
    parser.add_argument("--runs", type=Path, default=Path("runs/spoken_digits"))
    parser.add_argument("--picture", type=Path, default=Path("spoken_digits.png"))
    parser.add_argument("overrides", nargs="*", help="settings of the recipe, group.key=value")
    given = parser.parse_intermixed_args()
    speakers = SPEAKERS if given.speakers == ["all"] else tuple(given.speakers)
    shape = (len(ARMS), len(speakers), given.seeds)
    found = np.zeros(shape)
    # Seeds and speakers outside, so that a part of the whole compares the arms too.
    for seed in range(given.seeds):
        for j, speaker in enumerate(speakers):
            for k, arm in enumerate(ARMS):
                config = settings(arm, speaker, seed, given.runs, given.overrides)
                found[k, j, seed] = accuracy(config)
    print(table(found, speakers))
    print("published, Heidelberg digits: 95.07 % with learned delays; learned > fixed > none")
    draw(given.picture, found, speakers, given.runs / f"learned-{speakers[0]}-0")


if __name__ == "__main__":
    main()
