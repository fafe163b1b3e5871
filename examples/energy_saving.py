"""Four ways to spend less on the same task: spikes, bits, connections, and all of them.

A small convolutional network learns the digits of N-MNIST. Copies of it then go on learning for as
long: as they are; with a loss on synaptic operations; with weights of 4 bits (LSQ); with fewer and
fewer connections; and with all three. Printed are accuracy, operations and joules of a recording:
the classical count of operations, and one with the traffic of a memory.

    python examples/energy_saving.py
    python examples/energy_saving.py --root nmnist_6789_4000_1000.tar.xz --seeds 3 --plot saving.png

Reference: Sorbaro et al. (2020) for the loss, Esser et al. (2020) for the weights of few bits, Zhu
& Gupta (2017) for pruning; see docs/compression.md.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from spikesim import datasets
from spikesim.batch_norm import BatchNorm
from spikesim.compression import GradualSparsity, fold, importance, prune, quantize
from spikesim.energy import count
from spikesim.energy.model import joules
from spikesim.energy.models import get
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import LIF
from spikesim.train.activity import OperationsLoss, activity

STEPS, BATCH = 5, 25
MODELS = ("classical", "step")


def read(split: str, root: str | None) -> tuple[Tensor, Tensor]:
    """Spikes ``[T, B, 2, 34, 34]``, and digits."""
    data = datasets.load("nmnist", split, root=root, steps=STEPS, values="binary")
    x, y = next(iter(DataLoader(data, len(data), collate_fn=datasets.collate)))
    return x, y


def make_model(classes: int) -> nn.Module:
    return SpikingSequential(
        TimeDistributed(nn.Conv2d(2, 12, 5, stride=2, padding=2, bias=False), BatchNorm(12)),
        LIF(v_threshold=0.5, detach_reset=True),
        TimeDistributed(nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), BatchNorm(24)),
        LIF(v_threshold=0.5, detach_reset=True),
        TimeDistributed(nn.Flatten(), nn.Linear(24 * 81, classes)),
    )


@dataclass(frozen=True)
class Way:
    """How a copy of the network goes on learning."""

    name: str
    operations: float = 1.0
    """Operations behind neurons that are allowed, of those before."""
    bits: int = 32
    sparsity: float = 0.0
    power: float = 0.0
    """Of the spikes that a connection meets, in its importance."""


PLAIN = Way("as it is")
WAYS = (
    PLAIN,
    Way("fewer spikes", operations=0.4),
    Way("4 bits", bits=4),
    Way("fewer connections", sparsity=0.8),
    Way("all three", operations=0.4, bits=4, sparsity=0.8),
)
SWEEP = (
    PLAIN,
    *(Way("fewer spikes", operations=share) for share in (0.5, 0.25, 0.1)),
    *(Way("fewer bits", bits=bits) for bits in (8, 4, 3, 2)),
    *(Way("fewer connections", sparsity=s) for s in (0.5, 0.8, 0.9, 0.95)),
    *(Way("by signal", sparsity=s, power=1) for s in (0.8, 0.9)),
    *(Way("by operations", sparsity=s, power=-1) for s in (0.8, 0.9)),
    *(Way("all three", share, 4, s) for share, s in ((0.4, 0.8), (0.2, 0.9))),
)


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int,
    loss: OperationsLoss | None = None,
    before_epoch: Callable[[int], object] = lambda epoch: None,
) -> None:
    optimizer = torch.optim.Adam(model.train().parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(y) // BATCH))
    for epoch in range(epochs):
        before_epoch(epoch)
        for batch in torch.split(torch.randperm(len(y)), BATCH)[: len(y) // BATCH]:
            with activity(model, operations=loss is not None) as seen:
                total = cross_entropy(model(x[:, batch]).mean(0), y[batch])
            optimizer.zero_grad()
            total = total if loss is None else total + loss(seen)
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def go_on(model: nn.Module, way: Way, x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """A copy that has learned to spend less."""
    model, some, loss = copy.deepcopy(model), x[:, :500], None
    if way.operations < 1:
        behind = count(model, some).layers[1:]
        done = sum(layer.operations for layer in behind if layer.values == "binary")
        loss = OperationsLoss(1.0, target=way.operations * done)
    if way.bits < 32:
        quantize(model, way.bits, per="channel")
    schedule = GradualSparsity(way.sparsity, begin=-1, end=epochs / 2)

    def fewer(epoch: int) -> None:
        if way.sparsity:
            prune(model, schedule(epoch), by=importance(model, [some], way.power))

    train(model, x, y, epochs, loss, fewer)
    return fold(model)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    answers = [model.eval()(part).mean(0).argmax(1) for part in torch.split(x, 100, 1)]
    return float((torch.cat(answers) == y).double().mean())


def plot(points: dict[Way, list[tuple[float, float]]], path: str) -> None:
    """Energy and accuracy of each way, means over the seeds."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.2, 3.8), layout="constrained")
    for name in dict.fromkeys(way.name for way in points):
        means = torch.tensor([found for way, found in points.items() if way.name == name]).mean(1)
        axes.plot(1e6 * means[:, 0], means[:, 1], "o-", label=name)
    axes.set(xlabel=f"energy of a recording, uJ (model {MODELS[-1]!r})", ylabel="accuracy, %")
    axes.set_xlim(left=0)
    axes.legend(fontsize="small", loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", help="recordings; by default those of the package")
    parser.add_argument("--epochs", type=int, default=8, help="before, and again of each way")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sweep", action="store_true", help="each way in several strengths")
    parser.add_argument("--plot", help="file of a picture of energy and accuracy")
    arguments = parser.parse_args()
    x, y = read("train", arguments.root)
    x_test, y_test = read("test", arguments.root)
    points: dict[Way, list[tuple[float, float]]] = {}
    print(f"{'':43} right %   operations" + "".join(f"{name:>14}" for name in MODELS))
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)
        model = make_model(int(y.max()) + 1)
        train(model, x, y, arguments.epochs)
        for way in SWEEP if arguments.sweep else WAYS:
            torch.manual_seed(seed)
            spent = go_on(model, way, x, y, arguments.epochs)
            counts, right = count(spent, x_test), 100 * accuracy(spent, x_test, y_test)
            energy = [joules(get(name), counts).total for name in MODELS]
            how = f"{way.operations:4g} of spikes, {way.bits:2} bits, {way.sparsity:4g} pruned"
            print(
                f"{way.name:17} {how}  {right:6.1f} {counts.total('operations'):12,.0f}"
                + "".join(f"{1e6 * one:11.3f} uJ" for one in energy),
                flush=True,
            )
            points.setdefault(way, []).append((energy[-1], right))
    if arguments.plot:
        plot(points, arguments.plot)


if __name__ == "__main__":
    main()
