"""A recurrent network learns to remember, forward in time: e-prop and OTTT beside BPTT.

One of four cues, a group of inputs that fires for a tenth of the time, is followed by a long delay
with noise alone, and by a tenth of the time in which it is to be named. The same network learns
this by backpropagation through time (BPTT), which keeps all steps; by e-prop, which carries an
eligibility for each synapse forward; or by OTTT, which carries a trace for each sender. e-prop
trains adaptive neurons (ALIF), whose thresholds remember as long as a trial; OTTT knows none, and
trains LIF neurons whose membranes do. Each is beside BPTT of the same neurons, with equal settings.
Memory is the peak of what torch holds in one update, inputs too, which are made chunk by chunk.

    python examples/online_learning.py [--updates 60] [--steps 100 300] [--seed 0]
        [--memory 100 1000 10000] [--picture online_learning.png]

Reference: Bellec et al. (2020), Nat. Commun. 11:3625; Xiao et al. (2022), NeurIPS (OTTT). The task
is a store-recall task in the manner of the former; neither paper has these numbers.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, LI, LIF
from spikesim.online import Online, PeakMemory, learn
from spikesim.recurrent import Recurrent
from spikesim.surrogate import Triangle

CUES, GROUP, CELLS, BATCH, CHUNK = 4, 8, 64, 32, 50
INPUTS = GROUP * (CUES + 1)  # the last group says that the answer is due
NOISE, SIGNAL, TAU = 0.02, 0.3, 20.0  # spikes a step; steps
RATES = {"ALIF": 5e-2, "LIF": 5e-3}  # of Adam
TESTED = 512


@dataclass(frozen=True)
class Trials:
    """Cues ``[B]`` and their spikes, drawn as they are asked for."""

    steps: int
    cues: Tensor
    seed: int

    def chunks(self) -> Iterator[Tensor]:
        """``[CHUNK, B, INPUTS]`` each."""
        generator = torch.Generator().manual_seed(self.seed)
        group = torch.arange(INPUTS) // GROUP
        for start in range(0, self.steps, CHUNK):
            t = torch.arange(start, min(start + CHUNK, self.steps))[:, None, None]
            is_cue = (t < self.steps // 10) & (group == self.cues[:, None])
            is_due = (t >= self.answer) & (group == CUES)
            rate = torch.where(is_cue | is_due, SIGNAL, NOISE)
            yield (torch.rand(rate.shape, generator=generator) < rate).float()

    @property
    def answer(self) -> int:
        """The step from which on the answer counts."""
        return self.steps - self.steps // 10

    def loss(self, output: Tensor, start: int) -> Tensor:
        """Cross-entropy of the steps that count."""
        due = output[max(self.answer - start, 0) :]
        if not len(due):
            return 0.0 * output.sum()
        wanted = self.cues.repeat(len(due))
        return cross_entropy(due.flatten(0, 1), wanted, reduction="sum") / (
            len(self.cues) * (self.steps - self.answer)
        )


def trials(steps: int, seed: int, count: int = BATCH) -> Trials:
    """Cues at random."""
    generator = torch.Generator().manual_seed(seed)
    return Trials(steps, torch.randint(CUES, (count,), generator=generator), seed)


def network(kind: str, steps: int, seed: int) -> nn.Sequential:
    """A recurrent layer between two maps, with a leaky readout."""
    torch.manual_seed(seed)
    surrogate = Triangle(1.0)
    cells: Neuron = LIF(float(steps), v_reset=None, leak="exact", decay_input=False,
                        detach_reset=True, surrogate=surrogate)  # fmt: skip
    if kind == "ALIF":
        cells = ALIF(TAU, float(steps), normalize=False, beta=1.0, detach_reset=True,
                     surrogate=surrogate)  # fmt: skip
    first, lateral = nn.Linear(INPUTS, CELLS), nn.Linear(CELLS, CELLS, bias=False)
    last = nn.Linear(CELLS, CUES)
    with torch.no_grad():
        # An ALIF neuron takes in a twentieth of its input.
        for layer, size in zip(
            (first, lateral, last), (80, 10, 10) if kind == "ALIF" else (4, 0.5, 10), strict=True
        ):
            layer.weight *= size
    nn.init.zeros_(first.bias)
    return nn.Sequential(first, Recurrent(cells, lateral), last, LI(TAU, leak="exact"))


Learn = Callable[[Trials], float]


def backpropagation(model: nn.Module) -> Learn:
    """Gradients of a batch through all its steps."""

    def step(batch: Trials) -> float:
        loss = batch.loss(model(torch.cat(list(batch.chunks()))), 0)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    return step


def forward_in_time(online: Online) -> Learn:
    """The same, by chunks."""
    return lambda batch: float(learn(online, batch.chunks(), batch.loss).loss)


def random_feedback(model: nn.Module) -> Online:
    """e-prop with errors brought back by weights that are drawn once."""
    return Online(model, feedback="random", x=torch.zeros(1, 1, INPUTS))


METHODS: dict[str, tuple[str, Callable[[nn.Module], Learn]]] = {
    "ALIF, BPTT": ("ALIF", backpropagation),
    "ALIF, e-prop": ("ALIF", lambda model: forward_in_time(Online(model))),
    "ALIF, random e-prop": ("ALIF", lambda model: forward_in_time(random_feedback(model))),
    "LIF, BPTT": ("LIF", backpropagation),
    "LIF, OTTT": ("LIF", lambda model: forward_in_time(Online(model, rule="ottt"))),
}


def train(name: str, steps: int, updates: int, seed: int) -> tuple[float, float]:
    """Accuracy on trials not trained on, and seconds of an update."""
    kind, make = METHODS[name]
    model = network(kind, steps, seed)
    update = make(model)
    optimizer = torch.optim.Adam(model.parameters(), RATES[kind])
    update(trials(steps, 0))  # compiles
    begin = time.perf_counter()
    for n in track(range(updates), name, transient=True):
        optimizer.zero_grad()
        update(trials(steps, 1000 * seed + n))
        optimizer.step()
    seconds = (time.perf_counter() - begin) / updates
    test = trials(steps, 1_000_000, TESTED)
    with torch.no_grad():
        output = model(torch.cat(list(test.chunks())))[test.answer :]
    return float((output.mean(0).argmax(1) == test.cues).float().mean()), seconds


def memory(name: str, steps: int) -> float:
    """MB that one update holds at most."""
    kind, make = METHODS[name]
    update = make(network(kind, steps, 0))
    with PeakMemory() as used:
        update(trials(steps, 0))
    return used.peak / 1e6


def draw(path: str, steps: list[int], found: dict[str, list[float]]) -> None:
    """Memory over steps."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, values in found.items():
        axes.loglog(steps, values, "o-", label=name)
    axes.set(xlabel="steps of a trial", ylabel="peak memory of an update (MB)")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--memory", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default="online_learning.png")
    options = parser.parse_args()
    for steps in options.steps:
        print(f"{steps} steps, chance {1 / CUES:.0%}:")
        for name in METHODS:
            accuracy, seconds = train(name, steps, options.updates, options.seed)
            print(f"  {name:24}{accuracy:7.1%}{1e3 * seconds:8.1f} ms an update", flush=True)
    measured = ("ALIF, BPTT", "ALIF, e-prop", "LIF, OTTT")
    found = {name: [memory(name, steps) for steps in options.memory] for name in measured}
    print("MB, steps".ljust(26) + "".join(f"{steps:9,}" for steps in options.memory))
    for name, values in found.items():
        print(f"  {name:24}" + "".join(f"{value:9.1f}" for value in values))
    draw(options.picture, options.memory, found)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
