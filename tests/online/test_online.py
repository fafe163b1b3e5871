"""Feedback, memory, refusals, and what surrounds online learning."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, LI, LIF, PLIF, PoissonNeuron
from spikesim.online import Online, PeakMemory, ScaledWSConv2d, ScaledWSLinear, learn, step_loss
from spikesim.recurrent import Recurrent
from spikesim.surrogate import Triangle

SENDERS, NEURONS, OUT, B = 5, 6, 3, 2


def lif() -> LIF:
    return LIF(5.0, v_reset=None, detach_reset=True)


def alif() -> ALIF:
    return ALIF(5.0, 20.0, beta=0.7, detach_reset=True, surrogate=Triangle(1.0))


def network(neuron: nn.Module, leak: float = 4.0) -> nn.Sequential:
    model = nn.Sequential(
        *(nn.Linear(SENDERS, NEURONS), Recurrent(neuron, nn.Linear(NEURONS, NEURONS))),
        *(nn.Linear(NEURONS, OUT), LI(leak, leak="exact")),
    )
    model[0].weight.data.mul_(4.0).abs_()
    return model.double()


def spikes(steps: int) -> Tensor:
    return (torch.rand(steps, B, SENDERS) < 0.4).double()


def squared(output: Tensor, _: int) -> Tensor:
    return output.pow(2).sum()


def test_eligibilities_of_alif_are_the_published_ones() -> None:
    r"""eps <- psi zbar + (rho - psi beta) eps, e = psi (zbar - beta eps), filtered by kappa."""
    neuron = alif()
    model, x = network(neuron), spikes(30)
    with torch.no_grad():
        traces, current = [], []
        state = None
        for now, _, state in model[1].steps(model[0](x)):
            traces.append(state)
            current.append(now)
        z = torch.stack([state.s for state in traces])
        v, a = torch.stack([s.v for s in traces]), torch.stack([s.a for s in traces])
        psi = neuron.surrogate.derivative(v - (1.0 + 0.7 * a))
        error = 2.0 * model(x)
        signal = error @ model[2].weight
    p = neuron.values(x[0])
    k, k_a, kappa = float(p.k), float(p.k_adaptation), 1.0 - float(model[3].values(x[0]).k)
    before = torch.cat((torch.zeros_like(z[:1]), z[:-1]))
    for sent, weight in ((x, model[0].weight), (before, model[1].lateral.weight)):
        zbar = torch.zeros_like(sent[0])
        eps = filtered = torch.zeros(B, *weight.shape, dtype=torch.float64)
        expected = torch.zeros_like(weight)
        for t in range(len(x)):
            zbar = (1 - k) * zbar + k * sent[t]
            e = psi[t, :, :, None] * (zbar[:, None] - 0.7 * eps)
            eps = (1 - k_a) * eps + k_a * e
            filtered = kappa * filtered + (1 - kappa) * e
            expected += (signal[t, :, :, None] * filtered).sum(0)
        weight.expected = expected
    learn(Online(model), x.split(7), squared)
    for weight in (model[0].weight, model[1].lateral.weight):
        assert weight.grad is not None
        assert weight.expected.abs().max() > 0
        torch.testing.assert_close(weight.grad, weight.expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", ["eprop", "ottt"])
def test_direct_feedback_with_the_readouts_own_weights_is_symmetric(rule: str) -> None:
    model, x = network(lif()), spikes(12)
    learn(Online(model, rule=rule), x.split(5), squared)
    expected = [p.grad for p in model.parameters()]
    model.zero_grad()
    online = Online(model, rule=rule, feedback="adaptive", x=x)
    (weight,) = online.feedback_weights
    k = 1.0 if rule == "eprop" else float(model[3].values(x[0]).k)
    weight.data = model[2].weight.detach().T * k
    learn(online, x.split(5), squared)
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)
    assert weight.grad is not None
    if rule == "eprop":  # of the readout, through its leak
        torch.testing.assert_close(weight.grad, model[2].weight.grad.T)


def test_random_feedback_is_fixed_and_adaptive_becomes_symmetric() -> None:
    model, x = network(lif()), spikes(10)
    online = Online(model, feedback="random", x=x)
    assert not any(weight.requires_grad for weight in online.feedback_weights)
    online = Online(model, feedback="adaptive", x=x)
    pair = (model[2].weight, *online.feedback_weights)
    optimizer = torch.optim.SGD(pair, 1e-3, weight_decay=30.0)

    def likeness() -> float:
        forth, back = (weight.detach() for weight in pair)
        return float(torch.corrcoef(torch.stack((forth.flatten(), back.T.flatten())))[0, 1])

    assert abs(likeness()) < 0.9
    for _ in range(100):
        learn(online, x.split(5), lambda y, _: (y - 3.0).pow(2).sum(), optimizer)
    assert likeness() > 0.99


def peak(update: Callable[..., object], *args: object) -> int:
    with PeakMemory() as memory:
        update(*args)
    return memory.peak


def convolutional() -> nn.Sequential:
    maps = TimeDistributed(nn.Unflatten(1, (1, 1, SENDERS)), nn.Conv2d(1, 2, 1), nn.Flatten())
    return nn.Sequential(maps, lif(), nn.Linear(2 * SENDERS, OUT), LI(4.0, leak="exact")).double()


@pytest.mark.parametrize(
    ("make", "rule", "steps"),
    [
        (lambda: network(alif()), "eprop", 2000),
        (lambda: nn.Sequential(nn.Linear(SENDERS, NEURONS), alif()).double(), "eprop", 10_000),
        (convolutional, "ottt", 10_000),
    ],
    ids=["recurrent", "synapses", "traces"],
)
def test_memory_does_not_grow_with_steps(
    make: Callable[[], nn.Sequential], rule: str, steps: int
) -> None:
    model = make()
    online = Online(model, rule=rule)

    def update(steps: int) -> None:
        model.zero_grad()
        learn(online, (spikes(50) for _ in range(steps // 50)), squared)

    update(50)  # what is made once
    assert peak(update, steps) == peak(update, 100)


def test_memory_of_backpropagation_grows() -> None:
    model = network(lif())
    short, long = (peak(lambda x: model(x).sum().backward(), spikes(n)) for n in (100, 500))
    assert long > 4.0 * short


def test_an_optimizer_steps_with_each_chunk() -> None:
    x, labels = spikes(8), torch.tensor([0, 2])
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        model = network(lif())
        online, optimizer = Online(model, rule="ottt"), torch.optim.SGD(model.parameters(), 0.5)
        if not losses:
            found = learn(online, x.split(1), lambda y, _: step_loss(y, labels), optimizer)
            losses.append(found.loss)
            weights = [p.detach().clone() for p in model.parameters()]
            continue
        state = None
        for now in x.split(1):
            optimizer.zero_grad()
            output, state = online.run(now, state)
            step_loss(output, labels).backward()
            optimizer.step()
        assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))


def test_the_loss_of_steps_is_mixed() -> None:
    y, labels = torch.randn(4, 2, OUT), torch.tensor([1, 2])
    wanted = sum(
        0.95 * F.cross_entropy(now, labels) + 0.05 * F.mse_loss(now, torch.eye(OUT)[labels])
        for now in y
    )
    torch.testing.assert_close(step_loss(y, labels), wanted)


def test_standardised_weights_have_mean_0_and_norm_of_the_gain() -> None:
    for layer in (ScaledWSLinear(40, 3, scale=2.0), ScaledWSConv2d(4, 3, 3, scale=2.0)):
        layer.gain.data = torch.tensor([1.0, 2.0, 0.5])
        weight = layer.standardised().flatten(1)
        torch.testing.assert_close(weight.mean(1), torch.zeros(3), rtol=0, atol=1e-6)
        torch.testing.assert_close(weight.std(1) * weight.shape[1] ** 0.5, 2.0 * layer.gain,
                                   rtol=1e-2, atol=0)  # fmt: skip
        x = torch.rand(2, 40) if isinstance(layer, ScaledWSLinear) else torch.rand(2, 4, 3, 3)
        plain = x.flatten(1) @ weight.T + layer.bias
        torch.testing.assert_close(layer(x).flatten(1), plain)
    with pytest.raises(UserError, match="scale must be > 0, got 0"):
        ScaledWSLinear(2, 2, scale=0.0)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "batch norm": (
        lambda: Online(nn.Sequential(TimeDistributed(nn.Conv2d(2, 3, 3), BatchNorm(3)), lif())),
        "0: online learning knows .* BatchNorm is neither",
    ),
    "own module": (lambda: Online(nn.Sequential(nn.GELU(), lif())), "0: .* GELU is neither"),
    "lateral": (lambda: Online(Recurrent(lif(), nn.Tanh())), "model.lateral: .* Tanh is neither"),
    "no neurons": (lambda: Online(nn.Linear(2, 2)), "Linear has no neurons"),
    "learnable": (lambda: Online(PLIF()), "model, PLIF, learns tau"),
    "stochastic": (lambda: Online(PoissonNeuron()), "draws random numbers"),
    "no trace": (
        lambda: Online(nn.Sequential(nn.Linear(2, 3), ALIF()), rule="ottt"),
        "1, ALIF, has no trace .* use rule='eprop'",
    ),
    "convolution": (
        lambda: Online(nn.Sequential(TimeDistributed(nn.Conv2d(2, 3, 3)), LIF())),
        "1, LIF, needs an eligibility of each synapse, .* behind one nn.Linear",
    ),
    "sizes": (lambda: Online(network(lif()), feedback="random"), "needs an example input"),
    "rule": (lambda: Online(lif(), rule="bptt"), "rule must be one of eprop, ottt, got 'bptt'"),
    "leaks": (
        lambda: Online(nn.Sequential(nn.Linear(2, 2), lif(), LI(torch.tensor([2.0, 3.0])))),
        "2, LI, must have one tau",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_learn_online_is_named(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(UserError, match=message):
        make()


def test_runs_without_gradients_are_the_models() -> None:
    online = Online(network(lif()))
    with torch.no_grad(), pytest.raises(UserError, match="call the model itself"):
        online.run(spikes(2))
    with pytest.raises(UserError, match="batch size"):
        online.run(spikes(2)[:, :1], online.run(spikes(2))[1])


def test_memory_counts_arrays_until_they_are_gone() -> None:
    with PeakMemory() as memory:
        x = torch.zeros(100, requires_grad=True)
        y = (x * 2.0).exp().view(10, 10)  # exp keeps its output
        del y
        assert memory.now == 400
    assert memory.peak == 1200


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[2] / "examples" / "online_learning.py"
    monkeypatch.setattr(Neuron, "backend", "torch")  # its kernels take longer to compile
    sizes = ["--steps", "20", "--updates", "1", "--memory", "20", "40"]
    monkeypatch.setattr(sys, "argv", ["", *sizes, "--picture", str(tmp_path / "online.png")])
    runpy.run_path(str(example), run_name="__main__")
    assert (tmp_path / "online.png").exists()


@pytest.mark.data
def test_the_ecg_example_learns(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = Path(__file__).parents[2] / "examples" / "online_ecg.py"
    sizes = ["--epochs", "3", "--recordings", "64"]
    monkeypatch.setattr(sys, "argv", ["", str(data_root / "ecg_qtdb"), *sizes])
    runpy.run_path(str(example), run_name="__main__")
    losses = [float(line.split()[3][:-1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("rule", ["eprop", "ottt"])
def test_a_device_learns_as_the_cpu_does(rule: str) -> None:
    model = network(alif() if rule == "eprop" else lif())
    x, found = spikes(30), []
    for device in ("cpu", "cuda"):
        model.zero_grad(set_to_none=True)
        online = Online(model.to(device), rule=rule)
        learn(online, x.to(device).split(11), squared)
        found.append([p.grad.cpu() for p in model.parameters()])
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-8)
