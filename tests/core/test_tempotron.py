"""The tempotron: its kernel, its shunt, its rule and its capacity."""

import math

import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.neurons import TempotronMembrane
from spikesim.neurons.tempotron import kernel, peak
from spikesim.tempotron import Tempotron, tempotron_loss


@pytest.mark.parametrize("taus", [(15.0, 3.75), (10.0, 2.0), (3.0, 8.0)])
def test_kernel_has_height_1_at_the_closed_form(taus: tuple[float, float]) -> None:
    tau, tau_s = taus
    time, _ = peak(tau, tau_s)
    assert time == pytest.approx(tau * tau_s * math.log(tau / tau_s) / (tau - tau_s))
    assert kernel(time, tau, tau_s) == pytest.approx(1.0, abs=1e-12)
    assert all(kernel(time + d, tau, tau_s) < 1.0 for d in (-0.01, 0.01))
    assert kernel(0.0, tau, tau_s) == kernel(-1.0, tau, tau_s) == 0.0
    if tau == 15.0:
        assert time == pytest.approx(6.93, abs=0.005)


@pytest.mark.parametrize("dt", [1.0, 0.5])
def test_a_spikes_potential_is_the_kernel_on_the_grid(dt: float) -> None:
    x = torch.zeros(60, 1, 1, dtype=torch.float64)
    x[5], x[20] = 0.3, -0.2
    v = TempotronMembrane(dt=dt)(x).flatten() + 1.0
    expected = [0.3 * kernel((t - 5) * dt) - 0.2 * kernel((t - 20) * dt) for t in range(60)]
    assert torch.allclose(v, torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_input_after_a_spike_is_shunted() -> None:
    x = torch.zeros(60, 1, 1, dtype=torch.float64)
    x[0] = 1.5
    crossing = next(t for t in range(60) if 1.5 * kernel(float(t)) >= 1.0)
    late = x.clone()
    late[crossing + 1 :] = 1.0
    membrane = TempotronMembrane()
    assert torch.equal(membrane(x), membrane(late))
    late[crossing] = 0.5  # comes in the step of the spike itself
    assert membrane(late)[crossing + 1] > membrane(x)[crossing + 1]
    assert TempotronMembrane(shunt=False)(late).max() > 3.0


def patterns(n: int, load: float, seed: int, steps: int = 500) -> tuple[Tensor, Tensor]:
    """One spike of each afferent at a random time, and random classes."""
    generator = torch.Generator().manual_seed(seed)
    count = round(load * n)
    times = torch.randint(steps, (1, count, n), generator=generator)
    x = torch.zeros(steps, count, n).scatter_(0, times, 1.0)
    return x, torch.rand(count, 1, generator=generator) < 0.5


@pytest.mark.parametrize("shunt", [False, True])
def test_gradient_of_the_loss_is_the_published_rule(shunt: bool) -> None:
    torch.manual_seed(0)
    neurons = Tempotron(12, 2, shunt=shunt)
    neurons.membrane.backend = "torch"
    neurons.weight.data *= 2.0
    x = (torch.rand(80, 9, 12) < 0.03).float()
    targets = torch.rand(9, 2) < 0.5
    tempotron_loss(neurons(x), targets).backward()
    v = neurons.potentials(x).detach()
    expected = torch.zeros(2, 12)
    for b in range(9):
        for k in range(2):
            fired = bool((v[:, b, k] >= 0).any())
            if fired == bool(targets[b, k]):
                continue
            last = best = int(v[:, b, k].argmax())
            if fired and shunt:
                last = min(int((v[:, b, k] >= 0).nonzero()[0]), best)
            for i in range(12):
                for t in x[: last + 1, b, i].nonzero().flatten().tolist():
                    expected[k, i] += (1 if targets[b, k] else -1) * kernel(float(best - t))
    assert expected.abs().max() > 0
    assert torch.allclose(-neurons.weight.grad, expected, atol=1e-5)


def test_capacity_is_some_patterns_a_synapse() -> None:
    """Published: about 3. So 2 are learned without an error, and 6 are not."""
    torch.manual_seed(0)
    right = []
    for load, epochs in ((2.0, 200), (6.0, 60)):
        x, targets = patterns(40, load, seed=0)
        right.append(float((learned(x, targets, epochs) == targets).float().mean()))
    assert right[0] == 1.0
    assert right[1] < 0.9


def learned(x: Tensor, targets: Tensor, epochs: int) -> Tensor:
    """What fires when all is right, or at last: the published rule, with momentum."""
    neuron = Tempotron(x.shape[-1], 1)
    optimizer = torch.optim.SGD(neuron.parameters(), lr=0.02, momentum=0.9)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(x.shape[1]).split(20):
            optimizer.zero_grad()
            tempotron_loss(neuron(x[:, rows]), targets[rows]).backward()
            optimizer.step()
        slower.step()
        fires = neuron.fires(x)
        if bool((fires == targets).all()):
            break
    return fires


def test_time_constants_and_threshold_learn() -> None:
    names = ("tau", "tau_s", "v_threshold")
    neuron = Tempotron(30, 1, learnable=names)
    neuron.membrane.backend = "torch"
    tempotron_loss(neuron((torch.rand(100, 8, 30) < 0.05).float()),
                   torch.arange(8)[:, None] % 2 == 0).backward()  # fmt: skip
    for name in names:
        assert getattr(neuron.membrane, f"raw_{name}").grad.abs() > 0, name


def test_refused_tempotrons() -> None:
    with pytest.raises(UserError, match="tau and tau_s must differ"):
        TempotronMembrane(5.0, 5.0)
    with pytest.raises(UserError, match=r"input must be \[T, B, 4\], got \[3, 4\]"):
        Tempotron(4, 1)(torch.zeros(3, 4))
