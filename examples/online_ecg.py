"""Waves of an electrocardiogram, named step by step: e-prop over 1,301 steps, none of them kept.

Two leads of the QT database as events of rising and falling voltage (8 channels), of which each
step belongs to one of six parts of the heartbeat. 64 recurrent adaptive neurons and a leaky readout
learn to say which; the loss is the cross-entropy of each step. Gradients are those of e-prop, in
chunks of 50 steps, of e-prop with random feedback, of OTTT (LIF neurons), or of backpropagation.

    python examples/online_ecg.py FOLDER [--method eprop] [--epochs 14] [--rate 0.05] [--seed 0]

with QTDB_train.mat and QTDB_test.mat in FOLDER, the files of github.com/byin-cwi/
Efficient-spiking-networks (618 and 141 sequences).

Reference: the task of Yin, Corradi & Bohté (2021), Nat. Mach. Intell. 3:905; e-prop as in Bellec et
al. (2020), Nat. Commun. 11:3625. Neither has these numbers.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, LI, LIF
from spikesim.online import Online, learn
from spikesim.online.online import Feedback, Rule
from spikesim.recurrent import Recurrent
from spikesim.surrogate import Triangle

CHANNELS, CELLS, WAVES, BATCH, CHUNK = 8, 64, 6, 32, 50
METHODS = ("eprop", "random", "ottt", "bptt")


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Events ``[T, recordings, CHANNELS]``, and the wave of each step ``[T, recordings]``."""
    from scipy.io import loadmat

    found = loadmat(path)
    x = torch.tensor(found["x"], dtype=torch.float32).transpose(0, 1)
    rising_and_falling = torch.cat((x.clamp(min=0.0), (-x).clamp(min=0.0)), 2)
    return rising_and_falling, torch.tensor(found["y"]).argmax(2).T


def network(method: str) -> nn.Sequential:
    """Weights at first such that neurons fire in some hundredths of the steps."""
    cells: Neuron = ALIF(20.0, 200.0, beta=0.3, normalize=False, detach_reset=True,
                         surrogate=Triangle(1.0))  # fmt: skip
    gain = 20.0  # such a neuron takes in a twentieth of its input
    if method == "ottt":
        cells, gain = LIF(20.0, v_reset=None, decay_input=False, leak="exact",
                          detach_reset=True, surrogate=Triangle(1.0)), 1.0  # fmt: skip
    first, lateral = nn.Linear(CHANNELS, CELLS), nn.Linear(CELLS, CELLS, bias=False)
    last = nn.Linear(CELLS, WAVES)
    with torch.no_grad():
        first.weight.mul_(2.0 * gain)
        first.bias.mul_(0.2 * gain)
        lateral.weight.mul_(0.3 * gain)
        last.weight.mul_(10.0)
    return nn.Sequential(first, Recurrent(cells, lateral), last, LI(20.0, leak="exact"))


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of all steps that are named rightly."""
    with torch.no_grad():
        return float((model(x).argmax(2) == y).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", choices=METHODS, default="eprop")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--rate", type=float, default=5e-2, help="of Adam, with a cosine")
    parser.add_argument("--recordings", type=int, help="train on the first ones only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x, y = (part[:, : options.recordings] for part in load(options.folder / "QTDB_train.mat"))
    test = load(options.folder / "QTDB_test.mat")
    torch.manual_seed(options.seed)
    model = network(options.method)
    online = None
    if options.method != "bptt":
        rule: Rule = "ottt" if options.method == "ottt" else "eprop"
        feedback: Feedback = "random" if options.method == "random" else "symmetric"
        online = Online(model, rule=rule, feedback=feedback, x=x[:1, :1])
    optimizer = torch.optim.Adam(model.parameters(), options.rate)
    batches = -(-x.shape[1] // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * batches)
    start = time.perf_counter()
    for epoch in range(options.epochs):
        total = 0.0
        for some in torch.randperm(x.shape[1]).split(BATCH):  # type: ignore[no-untyped-call]
            now, waves = x[:, some], y[:, some]

            def loss(output: Tensor, start: int, waves: Tensor = waves) -> Tensor:
                due = waves[start : start + len(output)].flatten()
                return cross_entropy(output.flatten(0, 1), due, reduction="sum") / waves.numel()

            optimizer.zero_grad()
            if online is None:
                found = loss(model(now), 0)
                found.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            else:
                chunks = now.split(CHUNK)  # type: ignore[no-untyped-call]
                found = learn(online, chunks, loss).loss
            optimizer.step()
            schedule.step()
            total += found.item() / batches
        print(
            f"epoch {epoch + 1}: loss {total:.3f}, {accuracy(model, *test):.1%} of test steps, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
