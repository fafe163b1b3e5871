"""Multiply with what changed: the Delta Activation Layer on pictures that events add up to.

An event camera tells changes of brightness; added up, its events are a video again, in which most
pixels stay as they are. A small convolutional network reads the digits of N-MNIST from it, without
spikes: as it is, with the sizes of its activations penalised (the spatial baseline), and with Delta
Activation Layers. Printed are the accuracy, the density of what each layer has to multiply with
(activations that are not 0; of Delta Activation Layers, differences that are not 0), and the
multiplications and the energy of a recording, traffic of a memory included (model "step"), if each
network is run on values, or on differences.

    python examples/delta_activation.py
    python examples/delta_activation.py --root nmnist_6789_4000_1000.tar.xz --epochs 5 --seeds 3

Reference: Yousefzadeh & Sifalakis (2021), *Training for temporal sparsity in deep neural networks,
application in video processing*, table of ResNet-50 on UCF101 (other data and network; see
docs/systems/delta-activation-layer.md).
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from spikesim import datasets
from spikesim.delta import DeltaActivation, L1Activation, incremental, measured
from spikesim.energy import count
from spikesim.energy.model import joules
from spikesim.energy.models import get
from spikesim.layers import TimeDistributed

STEPS, BATCH = 12, 50
PLACES = (((1, 34, 34), 100.0), ((16, 17, 17), 72.0), ((32, 9, 9), 64.0), ((64,), 4.0))
"""Shape of each layer's input, and its fan-out."""


def read(split: str, root: str | None) -> tuple[Tensor, Tensor]:
    """Counts of events ``[T, B, 2, 34, 34]``, and digits."""
    data = datasets.load("nmnist", split, root=root, steps=STEPS)
    x, y = next(iter(DataLoader(data, len(data), collate_fn=datasets.collate)))
    return x, y


def video(counts: Tensor) -> Tensor:
    """Brightness: all events so far, ON minus OFF."""
    return (counts[:, :, 1:] - counts[:, :, :1]).cumsum(0) / 4


def make_model(kind: str, rate: float, classes: int) -> nn.Sequential:
    def sparse(place: int) -> nn.Module:
        shape, fan_out = PLACES[place]
        if kind == "delta":
            return DeltaActivation(shape, step=0.3, rate=rate, fan_out=fan_out)
        return L1Activation(rate=rate, fan_out=fan_out)

    first, second = nn.Conv2d(1, 16, 5, 2, 2), nn.Conv2d(16, 32, 3, 2, 1)
    return nn.Sequential(
        sparse(0),
        TimeDistributed(first, nn.BatchNorm2d(16), nn.ReLU()),
        sparse(1),
        TimeDistributed(second, nn.BatchNorm2d(32), nn.ReLU()),
        sparse(2),
        TimeDistributed(nn.Flatten(), nn.Linear(32 * 81, 64), nn.ReLU()),
        sparse(3),
        TimeDistributed(nn.Linear(64, classes)),
    )


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(y) // BATCH))
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(y)), BATCH)[: len(y) // BATCH]:
            with measured(model) as found:
                loss = cross_entropy(model(video(x[:, batch])).mean(0), y[batch])
            optimizer.zero_grad()
            (loss + found.penalty).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


@torch.no_grad()
def test(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, list[float]]:
    """Accuracy, and the density of each layer."""
    right, total = 0.0, torch.zeros(len(PLACES), dtype=torch.float64)
    for batch in torch.split(torch.arange(len(y)), 100):
        with measured(model.eval()) as found:
            right += float((model(video(x[:, batch])).mean(0).argmax(1) == y[batch]).sum())
        total += torch.stack(list(found.densities.values())) * len(batch)
    return right / len(y), (total / len(y)).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="recordings; by default those of the package")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--held-out", action="store_true", help="test on a ninth of training")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3])
    arguments = parser.parse_args()
    x, y = read("train", arguments.root)
    classes = int(y.max()) + 1
    chosen = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    held_out, rest = chosen[: len(y) // 9], chosen[len(y) // 9 :]
    if arguments.held_out:
        x_test, y_test = x[:, held_out], y[held_out]
    else:
        x_test, y_test = read("test", arguments.root)
    kinds = [("plain", 0.0), *((k, r) for r in arguments.rates for k in ("L1", "delta"))]
    print(" " * 25 + "density of what enters each      million MACs     uJ with memory")
    print("network rate    right %  conv   conv   linear linear  values   diff.   values   diff.")
    for kind, rate in kinds:
        for seed in range(arguments.seeds):
            torch.manual_seed(seed)
            model = make_model(kind, rate, classes)
            train(model, x[:, rest], y[rest], arguments.epochs)
            accuracy, densities = test(model, x_test, y_test)
            some = video(x_test[:, :: max(len(y_test) // 100, 1)])
            runs = [count(way, some) for way in (model, incremental(model))]
            macs = "  ".join(f"{run.total('effective_macs') / 1e6:6.2f}" for run in runs)
            energy = "  ".join(f"{1e6 * joules(get('step'), run).total:6.0f}" for run in runs)
            shown = "  ".join(f"{density:.3f}" for density in densities)
            print(
                f"{kind:7} {rate:<7g} {100 * accuracy:6.1f}   {shown}   {macs}   {energy}",
                flush=True,
            )


if __name__ == "__main__":
    main()
