"""Which source made these spikes? Neurons that learn their own parameters, read out by complexity.

Ten spike trains come from one of two sources. In the first task the sources differ in rate; in the
second both have the same rate, and in one of them a spike makes the next step's more likely (a
Markov chain), so that a count of the input's spikes tells nothing. Eight neurons are trained on it,
by backpropagation (leaky, meta- and Levy-Baxter neurons) or by STDP in the simulator, once with
their intrinsic parameters fixed and once with those learned too. Logistic regression then reads
either their rates or the Lempel-Ziv complexities of their trains. A tempotron answers by itself.

    python examples/lempel_ziv_classifier.py [--seeds 3] [--picture lempel_ziv.png]

Reference: Rudnicka, Szczepanski & Pregowska (2025), *Learning internal biological neuron parameters
...* (arXiv 2508.11674) and *Impact of neuron models on spiking neural network performance* (arXiv
2509.06970). Their abstracts claim up to 13.5 points for learned parameters (8.5 for meta-neurons)
and up to 99.5 % read by complexity; sizes and settings were not available: those below are ours.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from scipy.stats import sem
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional

from spikesim.complexity import ComplexityClassifier, LogisticReadout, complexity, markov_entropy
from spikesim.encoders import Markov
from spikesim.layers import TimeDistributed
from spikesim.network import AllToAll, Network
from spikesim.network.plasticity.pair import PairSTDP
from spikesim.neurons import ALIF, LIF, LevyBaxter
from spikesim.neurons.meta import COEFFICIENTS, MetaNeuron
from spikesim.stochastic import StochasticLinear
from spikesim.tempotron import Tempotron, tempotron_loss

STEPS, TRAINS, NEURONS = 400, 10, 8
SAMPLES, TESTS, BATCH, EPOCHS = 200, 400, 50, 60
RATES = {"LIF": 0.02, "meta": 0.002, "Levy-Baxter": 0.02}
"""Of learning intrinsic parameters: logarithms and logits, or coefficients of some tenths."""
TASKS = {"two rates": ((0.2, 0.0), (0.22, 0.0)), "equal rates": ((0.2, 0.0), (0.2, 0.3))}
"""Of both classes: spikes per step, and correlation of neighbouring steps."""
Data: TypeAlias = tuple[Tensor, Tensor]
Accuracies: TypeAlias = dict[str, float]
Rule: TypeAlias = Callable[[bool, Data, Data], Accuracies]


def data(task: str, samples: int, seed: int) -> Data:
    """Trains ``[T, B, N]`` and classes ``[B]``, the two in turn."""
    generator, x = torch.Generator().manual_seed(seed), torch.empty(STEPS, samples, TRAINS)
    for label, (rate, correlation) in enumerate(TASKS[task]):
        x[:, label::2] = Markov(STEPS, correlation)(x[0, label::2].fill_(rate), generator)
    return x, torch.arange(samples) % 2


def read_out(train: Data, test: Data) -> Accuracies:
    """Of the tests, from rates and from complexities of spikes ``[T, B, N]``."""
    (x, y), (x_test, y_test), lzc = train, test, ComplexityClassifier()
    by_rate = LogisticReadout.fit(x.mean(0), y).accuracy(x_test.mean(0), y_test)
    return {"rate": by_rate, "LZC": lzc.fit(x, y).accuracy(lzc.features(x_test), y_test)}


def layer(kind: str, learn: bool) -> nn.Sequential:
    """Synapses and neurons, each of which has parameters of its own if they are learned."""

    each = partial(torch.full, (NEURONS,))
    synapses: nn.Module = TimeDistributed(nn.Linear(TRAINS, NEURONS))
    neurons: nn.Module
    if kind == "LIF":
        names = ("tau", "v_threshold", "v_reset") if learn else ()
        neurons = LIF(each(20.0), each(0.5), each(0.0), leak="exact", learnable=names)
    elif kind == "meta":
        start = MetaNeuron(learnable=())
        a, b, c, d, v_peak, *q = (each(getattr(start, name)) for name in COEFFICIENTS)
        names = COEFFICIENTS if learn else ()  # type: ignore[assignment]
        neurons = MetaNeuron(a, b, c, d, v_peak=v_peak, quadratic=(*q,), learnable=names)  # type: ignore[arg-type]
    else:
        release, names = torch.full((NEURONS, TRAINS), 0.5), ("release",) if learn else ()  # type: ignore[assignment]
        synapses = StochasticLinear(TRAINS, NEURONS, release=release, learnable=names)
        neurons = LevyBaxter(each(0.5), learnable=("threshold",) if learn else ())
    weight = next(p for name, p in synapses.named_parameters() if name.endswith("weight"))
    nn.init.uniform_(weight, 0.0, 0.4 if kind == "meta" else 1.0)
    return nn.Sequential(synapses, neurons)


def optimizer_of(model: nn.Module, lr: float, intrinsic: float) -> torch.optim.Adam:
    """Adam with a rate of its own for intrinsic parameters, of which there may be none."""
    named = model.named_parameters()
    rates = [{"params": [p], "lr": intrinsic if "raw_" in name else lr} for name, p in named]
    return torch.optim.Adam(rates)


def features(spikes: Tensor) -> Tensor:
    """Rates, and rates of spikes in two steps running: these have gradients, LZC has none."""
    return 20.0 * torch.cat([spikes.mean(0), (spikes[1:] * spikes[:-1]).mean(0)], 1)


def backpropagation(kind: str, learn: bool, train: Data, test: Data) -> Accuracies:
    """Surrogate gradients; ``network`` is the answer of the output that was trained along."""
    net, head = model = nn.ModuleList([layer(kind, learn), nn.Linear(2 * NEURONS, 2)])
    optimizer = optimizer_of(model, 0.02, RATES[kind])
    for _ in range(EPOCHS):
        for rows in torch.randperm(SAMPLES).split(BATCH):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            values = head(features(net(train[0][:, rows])))
            torch.autograd.backward(functional.cross_entropy(values, train[1][rows]))
            # Unstable coefficients of a second-order neuron can let a gradient overflow.
            if nn.utils.clip_grad_norm_(net.parameters(), 1.0).isfinite():
                optimizer.step()
    with torch.no_grad():
        trained, tested = net(train[0]), net(test[0])
        own = (head(features(tested)).argmax(1) == test[1]).float().mean()
    return {"network": float(own)} | read_out((trained, train[1]), (tested, test[1]))


def stdp(learn: bool, train: Data, test: Data) -> Accuracies:
    """STDP while the training trains play once; a learned threshold rises with a neuron's rate."""
    beta = 5.0 if learn else 0.0
    (times, samples, senders), net = train[0].nonzero(as_tuple=True), Network(dt=1.0, seed=0)
    source = net.spikes((samples * STEPS + times).numpy() + 1.0, senders.numpy(), TRAINS)
    cells = net.population(ALIF(20.0, 1e4, 0.5, beta), NEURONS)
    rule = PairSTDP(w_max=1.0, rate=1e-3, alpha=1.05)
    start = np.random.default_rng(torch.initial_seed()).uniform(0.0, 1.0, TRAINS * NEURONS)
    synapses = net.connect(source, cells, AllToAll(), weight=start, plasticity=rule)
    net.run(SAMPLES * STEPS + 2.0)
    weights = torch.from_numpy(synapses.weights()).float().view(TRAINS, NEURONS)
    neurons = LIF(20.0, 0.5 + beta * torch.from_numpy(cells.state["a"]), None, leak="exact")
    return read_out(*((neurons(x @ weights), y) for x, y in (train, test)))


def tempotron(learn: bool, train: Data, test: Data) -> Accuracies:
    """One neuron, which is to fire at the trains of the second class."""
    neuron = Tempotron(TRAINS, 1, learnable=("tau", "tau_s", "v_threshold") if learn else ())
    optimizer = optimizer_of(neuron, 0.01, 0.02)
    for _ in range(EPOCHS):
        for rows in torch.randperm(SAMPLES).split(BATCH):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            wanted = train[1][rows, None] == 1
            torch.autograd.backward(tempotron_loss(neuron(train[0][:, rows]), wanted))
            optimizer.step()
    with torch.no_grad():
        return {"fires": float((neuron.fires(test[0])[:, 0] == test[1]).float().mean())}


def interval(values: list[float]) -> str:
    """Mean in percent, and half the width of its 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * sem(values)
    return f"{100 * np.mean(values):5.1f} ± {100 * half:4.1f}"


def draw(path: str) -> None:
    """Complexity of trains of one rate over their entropy."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    rho = np.linspace(-0.2, 0.9, 12)
    h = [float(markov_entropy(0.2, r)) for r in rho]
    for steps in (100, 400, 10_000):
        found = [complexity(Markov(steps, r)(torch.full((50,), 0.2))).mean() for r in rho]
        axes.plot(h, found, "o-", label=f"{steps} steps")
    axes.axline((0, 0), slope=1, color="gray", linestyle="--")
    axes.set(xlabel="entropy, bits per step; 20 % spikes each", ylabel="complexity (LZ76)")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--picture", default="lempel_ziv.png")
    options = parser.parse_args()
    rules: dict[str, Rule] = {f"backpropagation, {k}": partial(backpropagation, k) for k in RATES}
    rules |= {"STDP, LIF": stdp, "tempotron": tempotron}
    for task in TASKS:
        seeds = range(options.seeds)
        sets = [(data(task, SAMPLES, 2 * s), data(task, TESTS, 2 * s + 1)) for s in seeds]
        raw = [read_out(*pair) for pair in sets]
        print(f"\n{task}: % right of {TESTS}, mean of {options.seeds} seeds and 95 % interval")
        print("; ".join(f"input, {k} {interval([a[k] for a in raw])}" for k in raw[0]))
        for name, rule in rules.items():
            found: list[list[Accuracies]] = [[], []]
            for seed, pair in enumerate(sets):
                for learn in (False, True):
                    torch.manual_seed(seed)
                    found[learn].append(rule(learn, *pair))
            for key in found[0][0]:
                fixed, learned = ([a[key] for a in part] for part in found)
                gain = [b - a for a, b in zip(fixed, learned, strict=True)]
                print(f"{name:28}{key:>10}: fixed {interval(fixed)}, learned {interval(learned)}, "
                      f"gain {interval(gain)}", flush=True)  # fmt: skip
    draw(options.picture)
    print(f"picture: {options.picture}")


if __name__ == "__main__":
    main()
