"""One model, two engines: train with surrogate gradients, then simulate as a sparse network.

A small convolutional network learns the ten digits of N-MNIST from the 1,000 recordings that come
with the package. Then its layers become populations of a network, its weights synapses. The same
100 test recordings go through both, in float64, and every spike of every neuron is compared; the
simulator also counts what the module hides: how many synapses a spike has to reach.

    python examples/train_and_simulate.py --epochs 6

Reference: Orchard et al. (2015) for the recordings; Zenke & Ganguli (2018) for the training.
"""

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from spikesim import datasets
from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.network.convert import first_difference, plan, to_network
from spikesim.neurons import LIF, PLIF

STEPS = 5


def make_model() -> nn.Module:
    """Two convolutions with neurons, and class values of each step."""
    return SpikingSequential(
        TimeDistributed(nn.Conv2d(2, 12, 5, stride=2, padding=2, bias=False), BatchNorm(12)),
        PLIF(v_threshold=0.5, detach_reset=True),
        TimeDistributed(nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False), BatchNorm(24)),
        LIF(v_threshold=0.5, detach_reset=True),
        TimeDistributed(nn.Flatten(), nn.Linear(24 * 81, 10)),
    )


def read(split: str) -> tuple[Tensor, Tensor]:
    """All recordings of a split as spikes ``[T, B, 2, 34, 34]``, and their digits."""
    data = datasets.load("nmnist", split, steps=STEPS, values="binary")
    x, y = next(iter(DataLoader(data, len(data), collate_fn=datasets.collate)))
    return x, y


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(y) // 25))
    for epoch in range(epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(y)), 25):
            loss = cross_entropy(model(x[:, batch]).mean(0), y[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1}: loss {total / len(y):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = make_model()
    train(model, *read("train"), arguments.epochs)

    x, y = read("test")
    print(plan(model, x))
    network = to_network(model, x)
    began = time.perf_counter()
    simulated = network.run(x)
    seconds = time.perf_counter() - began
    difference = first_difference(model, network, x)
    with torch.no_grad():
        trained = model.eval().double()(x.double())
    for name, values in (("module", trained), ("network", simulated)):
        right = (values.mean(0).argmax(1) == y).double().mean()
        print(f"{name}: {right:.0%} of {len(y)} test recordings")
    spikes = sum(int(network.spikes(name).sum()) for name in network.modules)
    print(f"spikes of {spikes:,} in {len(y)} inferences: {difference or 'all equal'}")
    dense = network.network.synapses * STEPS
    events = network.synaptic_events
    print(f"synaptic events per inference: {events:,.0f}, {events / dense:.1%} of all synapses in "
          f"all steps; {1e3 * seconds / len(y):.1f} ms each")  # fmt: skip


if __name__ == "__main__":
    main()
