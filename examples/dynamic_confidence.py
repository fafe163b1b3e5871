"""A spiking network that stops each image as soon as it is sure, and what that saves.

A small convolutional network with activations of four levels is trained, and becomes
integrate-and-fire neurons that count up to these levels: its answer gets better step by step.
Dynamic Confidence stops an image when the soft-max of the accumulated output exceeds a threshold;
smoothing and threshold are found on a part of the training images that the network never saw.

    python examples/dynamic_confidence.py                   # 1,100 digits that are shipped
    python examples/dynamic_confidence.py --mnist FOLDER    # tested on 10,000: the figures claimed

Reference: C. Li, E. G. Jones, S. Furber (2023), *Unleashing the potential of spiking neural
networks with Dynamic Confidence*, ICCV: 40 % fewer steps on average (CIFAR-10, ImageNet).
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesim.datasets import load
from spikesim.datasets.readers.idx import read_idx
from spikesim.early_exit import (
    Calibration,
    DynamicConfidence,
    Exits,
    Levels,
    accuracy_by_step,
    calibrate,
    counts_until_exit,
    curve,
    oracle,
    paired_difference,
    to_spiking,
)
from spikesim.encoders import Direct
from spikesim.energy import EnergyReport, count

BATCH, COUNTED, MODELS = 500, 500, ("classical", "step", "loihi")
Images: TypeAlias = tuple[Tensor, Tensor]
"""Images ``[N, C, H, W]`` and classes ``[N]``."""


def mnist(folder: Path) -> tuple[Images, Images]:
    """60,000 and 10,000 images, in [0, 1]."""
    parts = []
    for part in ("train", "t10k"):
        x = torch.from_numpy(read_idx(folder / f"{part}-images-idx3-ubyte.gz").copy())
        y = torch.from_numpy(read_idx(folder / f"{part}-labels-idx1-ubyte.gz").copy())
        parts.append((x[:, None].float() / 255, y.long()))
    return parts[0], parts[1]


def shipped() -> tuple[Images, Images]:
    """N-MNIST as still images: the logarithm of the events of a pixel, in [0, 1]."""
    parts = []
    for split in ("train", "test"):
        data = load("nmnist", split, steps=1, values="log1p", fold=(0, 5))
        x, y = data.__getitems__(range(len(data)))
        assert isinstance(x, Tensor)
        parts.append((x[0] / x.max(), y))
    return parts[0], parts[1]


def train(images: Images, epochs: int, seed: int) -> nn.Sequential:
    """Four convolutions with activations of two bits."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    (x, y), (channels, side) = images, images[0].shape[1:3]
    for out, kernel, stride in ((12, 5, 2), (16, 3, 1), (24, 3, 2), (24, 3, 1)):
        conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(out), Levels(bits=2)]
        channels, side = out, -(-side // stride)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, 10))
    batches = len(x) // 128
    optimizer = torch.optim.Adam(model.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=batches * epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: batches * 128].view(-1, 128):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rate.step()
    return model.eval()


def stopped(rule: DynamicConfidence, model: nn.Module, x: Tensor, steps: int) -> Exits:
    """Run images in batches; those that are sure leave theirs."""
    return Exits.joined([rule.run(model, Direct(steps)(some)) for some in torch.split(x, BATCH)])


@dataclass(frozen=True)
class Found:
    """What a seed gave; the outputs are those of the test images, ``[T, N, K]``."""

    calibration: Calibration
    outputs: Tensor
    targets: Tensor
    exits: Exits

    def draw(self, path: str) -> None:
        """Accuracy over mean steps: thresholds, fixed numbers of steps, perfect decisions."""
        import matplotlib.pyplot as plt

        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
        points = curve(self.outputs, self.targets, self.calibration.rule.alpha)
        left.plot([p.latency for p in points], [100 * p.accuracy for p in points],
                  label="Dynamic Confidence, all thresholds")  # fmt: skip
        fixed = [100 * accuracy for accuracy in accuracy_by_step(self.outputs, self.targets)]
        left.plot(range(1, len(fixed) + 1), fixed, "s:", color="gray", label="fixed steps")
        left.plot(self.exits.latency, 100 * self.exits.accuracy(self.targets), "ro",
                  label=f"threshold {self.calibration.rule.threshold:.4f}, calibrated")  # fmt: skip
        marks = {"first": "k^", "settled": "kv"}
        for kind in ("first", "settled"):
            best = oracle(self.outputs, self.targets, kind)
            left.plot(best.latency, 100 * best.accuracy, marks[kind], label=f"oracle, {kind}")
        left.set(xlabel="mean steps", ylabel="test accuracy (%)")
        left.legend(fontsize="small")
        right.bar(range(1, self.exits.limit + 1), 100 * self.exits.running, color="gray")
        right.set(xlabel="step", ylabel="images still running (%)")
        figure.savefig(path, dpi=120)


def experiment(
    images: Images, test: Images, *, steps: int, epochs: int, held: int, tolerance: float, seed: int
) -> Found:
    """Train, convert, calibrate on ``held`` images of the training part, test."""
    order = torch.randperm(len(images[0]), generator=torch.Generator().manual_seed(seed))
    apart, learn = order[:held], order[held:]
    network = train((images[0][learn], images[1][learn]), epochs, seed)
    model, (x, y) = to_spiking(network), test
    with torch.no_grad():
        plain = torch.cat([network(some) for some in torch.split(x, BATCH)]).argmax(1)
        calibrating, outputs = (
            torch.cat([model(Direct(steps)(some)) for some in torch.split(part, BATCH)], 1)
            for part in (images[0][apart], x)
        )
    found = calibrate(calibrating, images[1][apart], tolerance=tolerance)
    begun = time.perf_counter()
    full = stopped(DynamicConfidence(found.rule.alpha, 1.0), model, x, steps)
    between = time.perf_counter()
    exits = stopped(found.rule, model, x, steps)
    ended = time.perf_counter()
    fixed = accuracy_by_step(outputs, y)
    said, wanted = (100 * some.accuracy(y) for some in (exits, full))
    lost = paired_difference(exits.predictions == y, full.predictions == y)
    as_good = next((t for t, a in enumerate(fixed, 1) if 100 * a >= said), "more")
    print(f"seed {seed}: {len(learn)} images to train, {held} to calibrate, {len(x)} to test")
    print(f"  fixed steps    {' '.join(f'{100 * a:.2f}' for a in fixed)} %")
    print(f"  no spikes      {100 * float((plain == y).double().mean()):.2f} %")
    print(f"  rule           alpha {found.rule.alpha:.3g}, threshold {found.rule.threshold:.4f}")
    print(f"  accuracy       {wanted:.2f} -> {said:.2f} %; wanted: within 0.3 points")
    low, middle, high = (100 * value for value in (lost.low, lost.value, lost.high))
    print(f"  difference     {middle:+.2f} points ({low:+.2f} to {high:+.2f}, 95 %)")
    fewer = 1 - exits.latency / steps
    print(f"  mean steps     {steps} -> {exits.latency:.2f}, {fewer:.0%} fewer; wanted: 30 %")
    print(f"  as accurate    {as_good} fixed steps")
    for kind in ("first", "settled"):
        best = oracle(outputs, y, kind)
        print(f"  oracle {kind:8}{100 * best.accuracy:.2f} % in {best.latency:.2f} steps")
    shown = Direct(steps)(x[:COUNTED])
    counts = [counts_until_exit(count, model, shown, some[:COUNTED]) for some in (full, exits)]
    reports = [EnergyReport.of(each, models=MODELS) for each in counts]
    spikes = [sum(line.spikes for line in each if line.kind == "neuron") for each in counts]
    print(f"  spikes         {spikes[0]:.0f} -> {spikes[1]:.0f} an image, of {shown.shape[1]}")
    for name in MODELS:
        uj = [1e6 * report.totals.joules[name] for report in reports]
        print(f"  {name:15}{uj[0]:.2f} -> {uj[1]:.2f} uJ an image, {1 - uj[1] / uj[0]:.0%} less")
    print(f"  wall time      {between - begun:.2f} -> {ended - between:.2f} s")
    return Found(found, outputs, y, exits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="folder of the four files of MNIST")
    parser.add_argument("--steps", type=int, default=8, help="where who is unsure stops")
    parser.add_argument("--epochs", type=int, help="2 of MNIST, 30 of what is shipped")
    parser.add_argument("--tolerance", type=float, default=0.0, help="accuracy to give up")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--picture", default="dynamic_confidence.png")
    options = parser.parse_args()
    images, test = mnist(options.mnist) if options.mnist else shipped()
    found = [
        experiment(images, test, steps=options.steps, held=len(images[0]) // 6, seed=seed,
                   epochs=options.epochs or (2 if options.mnist else 30),
                   tolerance=options.tolerance)
        for seed in options.seeds
    ]  # fmt: skip
    found[0].draw(options.picture)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
