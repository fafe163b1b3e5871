"""One ELM neuron adds two words heard far apart; a layer of LIF neurons forgets the first.

Ten synthetic words of 150 ms, each a course of firing rates of 24 channels that is drawn once, are
spoken with Poisson spikes, drawn anew each time: one, 200 ms of silence, another. At the end the
sum of their digits is asked for (19 classes, as SHD-Adding; 10 % is what the last word alone, or
the likeliest sum, would give). Three networks with as many learned numbers: an ELM neuron with
memory of 1 to 500 ms; a layer of LIF neurons of 20 ms, read by leaky integrators of 20 ms; and, as
a control, one with neurons of 10 to 500 ms, evenly spaced in the logarithm, read over 500 ms.

    python examples/elm_long_memory.py [--steps 1000] [--seeds 3] [--picture elm_long_memory.png]

Reference: Spieler et al. (2024), *The Expressive Leaky Memory neuron*, ICLR, arXiv 2306.16922. Its
SHD-Adding takes pairs of recordings of SHD; their accuracies are in its figures only.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from spikesim.elm import ELM, adding
from spikesim.neurons import LI, LIF

DT, WORD, GAP, CHANNELS, SUMS = 10.0, 15, 20, 24, 19  # ms; steps of a word, and of the silence
BATCH, MEMORY, TAU_M = 64, 24, (1.0, 500.0)
TESTED = 2000
"""Pairs of the test, spoken with other spikes than those of training."""


def words(generator: torch.Generator) -> Tensor:
    """Rates of ten words, spikes in a step, ``[10, WORD, CHANNELS]``: smooth, and few are high."""
    coarse = torch.randn(10, CHANNELS, 5, generator=generator)
    return (interpolate(coarse, WORD, mode="linear").transpose(1, 2) - 0.5).relu()


def spoken(rates: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pairs of words as counts of spikes ``[T, count, CHANNELS]``, and their sums."""
    rates_TBC, sums = adding(rates, torch.arange(10), count, gap=GAP, generator=generator)
    return torch.poisson(rates_TBC, generator=generator), sums


class Layer(nn.Module):
    """LIF neurons between two linear maps, read by leaky integrators; time constants in ms."""

    def __init__(self, hidden: int, tau: Tensor, tau_readout: float) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(CHANNELS, hidden), nn.Linear(hidden, SUMS)
        self.neuron = LIF(tau=tau, leak="exact", dt=DT, v_threshold=1.0)
        self.readout = LI(tau_readout, leak="exact", dt=DT)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.readout(self.last(self.neuron(self.first(x))))
        return y


def size(model: nn.Module) -> int:
    """Learned numbers."""
    return sum(p.numel() for p in model.parameters())


def elm() -> ELM:
    """One neuron with a branch for each channel, as published for SHD."""
    return ELM(CHANNELS, SUMS, n_memory=MEMORY, version=1, tau_m=TAU_M, dt=DT)


def layer(slow: bool) -> Layer:
    """As wide as gives no fewer learned numbers than the ELM has."""
    hidden = -(-(size(elm()) - SUMS) // (CHANNELS + 1 + SUMS))
    least, greatest = (10.0, 500.0) if slow else (20.0, 20.0)
    tau = torch.tensor(np.geomspace(least, greatest, hidden)).float()
    return Layer(hidden, tau, tau_readout=greatest)


def learn(model: nn.Module, seed: int, steps: int, name: str) -> list[float]:
    """Loss of each step; Adamax and a cosine, cross-entropy of the last step, as published."""
    generator = torch.Generator().manual_seed(seed)
    rates, losses = words(generator), []
    optimizer = torch.optim.Adamax(model.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in track(range(steps), f"{name}, seed {seed}"):
        x, sums = spoken(rates, BATCH, generator)
        loss = cross_entropy(model(x)[-1], sums)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(model: nn.Module, seed: int) -> float:
    """Of sums, on pairs drawn for the test."""
    rates = words(torch.Generator().manual_seed(seed))
    x, sums = spoken(rates, TESTED, torch.Generator().manual_seed(1000 + seed))
    return float((model(x)[-1].argmax(1) == sums).float().mean())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ELM neuron": elm,
    "LIF, 20 ms": lambda: layer(slow=False),
    "slow LIF, 10 to 500 ms": lambda: layer(slow=True),
}


def interval(values: list[float]) -> str:
    """Mean with its 95 % interval over seeds (Student's t)."""
    from scipy.stats import t

    spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    each = ", ".join(f"{value:.1%}" for value in values)
    half = t.ppf(0.975, max(len(values) - 1, 1)) * spread
    return f"{np.mean(values):.1%} +- {half:.1%} ({each})"


def draw(path: str, losses: dict[str, list[list[float]]]) -> None:
    """Loss over steps of all seeds."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    smooth = np.ones(10) / 10
    for n, (name, runs) in enumerate(losses.items()):
        for run in runs:
            axes.plot(np.convolve(run, smooth, "valid"), f"C{n}", label=name)
            name = ""
    axes.axhline(np.log(10), color="gray", linestyle=":", label="the last word alone")
    axes.set(xlabel="training step", ylabel="cross-entropy of the sum")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", default="elm_long_memory.png")
    options = parser.parse_args()
    losses: dict[str, list[list[float]]] = {}
    for name, make in NETWORKS.items():
        found, losses[name] = [], []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            model = make()
            losses[name].append(learn(model, seed, options.steps, name))
            found.append(accuracy(model, seed))
        print(f"{name}, {size(model)} parameters: {interval(found)}", flush=True)
    draw(options.picture, losses)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
