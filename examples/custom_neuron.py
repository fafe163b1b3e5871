"""A neuron of your own in 15 lines: the quadratic integrate-and-fire neuron, trained and timed.

The library's own, for simulation, has neither a reset nor a critical voltage; this one has both.
One ``step``, plain arithmetic, is all there is to write: the fused kernels, forward and backward,
are printed from it. A hidden layer of 256 such neurons, each learning its own critical voltage, is
trained on the 1,000 N-MNIST recordings that come with the package and tested on the other 100; then
one layer is timed with its kernels and without.

    python examples/custom_neuron.py

Reference: the neuron is the normal form of a cell at the onset of firing; Ermentrout & Kopell
(1986), and Gerstner et al. (2014), *Neuronal Dynamics*, section 5.3 and equation 5.16.
"""

import argparse
import math
import time
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from spikesim import datasets
from spikesim.constraint import Positive
from spikesim.layers import TimeDistributed
from spikesim.neuron import Neuron
from spikesim.surrogate import ATan
from spikesim.types import Named, Number

STEPS, HIDDEN, BATCH = 10, 256, 50


class QIF(Neuron):
    """tau v' = v (v - v_critical) + x; spikes where v reaches 1, and is reset to 0."""

    states = ("v",)

    def __init__(self, tau: Number = 2.0, v_critical: Number = 0.8, learn: Collection[str] = ()):
        super().__init__(learnable=learn)
        self.surrogate = ATan()
        self.add_parameter("tau", tau, Positive())
        self.add_parameter("v_critical", v_critical)

    def derived(self, p: Named) -> dict[str, Number]:
        return {"k": self.dt / p.tau}

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        u = state.v + (state.v * (state.v - p.v_critical) + inputs.x) * p.k
        s = self.spike(u - 1.0)
        return Named(v=(1.0 - s) * u), s


class Network(nn.Module):
    """Pixels to a layer of QIF neurons to class values, averaged over time."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.drive = TimeDistributed(nn.Linear(pixels, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN))
        self.neurons = QIF(v_critical=torch.full((HIDDEN,), 0.8), learn=("v_critical",))
        self.readout = nn.Linear(HIDDEN, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, P, H, W]`` -> ``[B, K]``."""
        values: Tensor = self.readout(self.neurons(self.drive(x.flatten(2))).mean(0))
        return values


def train(network: Network, batches: Iterable[tuple[Tensor, Tensor]], epochs: int) -> None:
    """Adam on batches of ``x [T, B, P, H, W]`` and labels ``[B]``."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(epochs):
        for x, labels in batches:
            optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(network(x), labels))
            optimizer.step()


@torch.no_grad()
def right(network: Network, batches: Iterable[tuple[Tensor, Tensor]]) -> int:
    """The number of right answers."""
    network.eval()
    return sum(int((network(x).argmax(1) == labels).sum()) for x, labels in batches)


def milliseconds(neuron: Neuron, x: Tensor, repeats: int) -> float:
    """The shortest of some runs forward and backward, the first left out: it compiles."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch.autograd.grad(neuron(x).sum(), x)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)

    data, test = (datasets.load("nmnist", split, steps=STEPS) for split in ("train", "test"))
    network = Network(math.prod(data.frame_shape), len(data.classes))
    start = time.perf_counter()
    train(network, DataLoader(data, BATCH, True, collate_fn=datasets.collate), options.epochs)
    seconds = time.perf_counter() - start
    count = right(network, DataLoader(test, BATCH, collate_fn=datasets.collate))
    critical = network.neurons.v_critical.detach()
    print(f"trained on {len(data)} N-MNIST recordings in {seconds:.1f} s: "
          f"{count / len(test):.0%} of {len(test)} others right")  # fmt: skip
    print(f"critical voltages: all 0.80 before, {critical.min():.2f} to {critical.max():.2f} after")

    x = torch.randn(32, 64, 1024).requires_grad_()
    fused, plain = QIF(), QIF()
    plain.backend = "torch"
    print(f"\n{list(x.shape)}, forward and backward, {torch.get_num_threads()} threads:")
    quick, slow = (milliseconds(neuron, x, options.repeats) for neuron in (fused, plain))
    for neuron, found in ((fused, quick), (plain, slow)):
        print(f"{found:8.1f} ms  {neuron}")
    print(f"{slow / quick:8.1f} times faster")


if __name__ == "__main__":
    main()
