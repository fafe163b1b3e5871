"""The Levy-Baxter neuron and the meta-neuron."""

import math
from statistics import NormalDist

import pytest
import torch
from torch import nn

from spikesim.counts import emitted
from spikesim.neurons import LIF, Izhikevich, LevyBaxter, MetaNeuron
from spikesim.random import place
from spikesim.stochastic import StochasticLinear
from spikesim.surrogate import ATan


def binomial_above(n: int, p: float, g: float) -> float:
    """P(Binomial(n, p) > g)."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if k > g)


def unit(inputs: int, outputs: int, release: float) -> StochasticLinear:
    synapses = StochasticLinear(inputs, outputs, bias=False, release=release)
    nn.init.ones_(synapses.weight)
    return synapses


@pytest.mark.parametrize("release", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("g", [0.0, 2.0, 2.5, 7.0])
def test_it_fires_as_a_binomial_number_exceeds_the_threshold(release: float, g: float) -> None:
    """Failures are of synapses: one draw a spike would give another distribution."""
    n, p, steps, batch, outputs = 12, 0.4, 500, 16, 3
    torch.manual_seed(3)
    x = (torch.rand(steps, batch, n) < p).float()
    synapses = unit(n, outputs, release)
    place(synapses, seed=5)
    found = LevyBaxter(g)(synapses(x))
    expected = binomial_above(n, p * release, g)
    # Outputs of one step share their inputs: at worst each step and sample counts once.
    error = math.sqrt(expected * (1 - expected) / (steps * batch))
    assert found.mean().item() == pytest.approx(expected, abs=4 * error + 1e-12)
    if 0 < release < 1 and g == 0.0:
        both = (found[..., 0] * found[..., 1]).mean().item()
        shared = sum(
            math.comb(n, k) * p**k * (1 - p) ** (n - k) * (1 - (1 - release) ** k) ** 2
            for k in range(n + 1)
        )
        assert both == pytest.approx(shared, abs=4 * math.sqrt(shared / (steps * batch)))


@pytest.mark.parametrize("neuron", [LevyBaxter(0.5), LIF(tau=4.0)])
def test_certain_synapses_make_it_deterministic(neuron: nn.Module) -> None:
    synapses = StochasticLinear(20, 6, release=1.0)
    with torch.no_grad():  # eighths: sums have no rounding
        for values in synapses.parameters():
            values.copy_((values * 8).round() / 8 + 0.125)
    x = (torch.rand(30, 4, 20) < 0.3).float()
    plain = nn.functional.linear(x, synapses.weight, synapses.bias)
    assert torch.equal(synapses(x), plain)
    spikes = neuron(synapses(x))
    assert 0 < spikes.mean() < 1
    assert torch.equal(spikes, neuron(plain))


def test_the_threshold_itself_is_not_enough_and_its_gradient_is_the_surrogates() -> None:
    y = torch.tensor([[[1.0, 2.0, 2.5]]]).requires_grad_()
    neuron = LevyBaxter(2.0, surrogate=ATan(), learnable=["threshold"])
    z = neuron(y)
    assert z.flatten().tolist() == [0.0, 0.0, 1.0]
    z.sum().backward()
    g = ATan().derivative(y.detach() - 2.0)
    assert torch.allclose(y.grad, g)
    assert neuron.raw_threshold.grad.item() == pytest.approx(-g.sum().item(), rel=1e-6)
    assert emitted(neuron) == 1


def test_release_is_learned_by_its_expected_rate() -> None:
    """The mean output meets a target where the Gaussian limit of the binomial says."""
    torch.manual_seed(0)
    n, p, g = 200, 0.3, 20.0
    synapses = StochasticLinear(n, 1, bias=False, release=0.2, learnable=["release"])
    nn.init.ones_(synapses.weight)
    neuron = LevyBaxter(g, surrogate=ATan(0.2))
    neuron.backend = "torch"
    optimizer = torch.optim.Adam([synapses.raw_release], lr=0.05)
    for _ in range(60):
        x = (torch.rand(50, 8, n) < p).float()
        loss = (neuron(synapses(x)).mean() - 0.5).square()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mean = n * p * synapses.release.item()
    sd = math.sqrt(mean * (1 - p * synapses.release.item()))
    assert 1 - NormalDist(mean, sd).cdf(g + 0.5) == pytest.approx(0.5, abs=0.1)


def test_the_meta_neuron_is_izhikevichs_with_its_numbers() -> None:
    """Tonic spiking in the published table: 5 spikes, the first at 13 ms, the last at 86.75."""
    numbers = (0.02, 0.2, -65.0, 6.0)
    meta = MetaNeuron(*numbers, v_peak=30.0, quadratic=(0.04, 5.0, 140.0), dt=0.25, learnable=())
    plain = Izhikevich(*numbers, scheme="euler", dt=0.25)
    time = torch.arange(400, dtype=torch.float64)[:, None, None] * 0.25
    x = 14.0 * (time > 10.0)
    v = torch.full((1, 1), -70.0, dtype=torch.float64)
    start = meta.initial_state(x[0]).replace(v=v, u=0.2 * v)
    spikes, state = meta.run(x, start)
    times = spikes.flatten().nonzero().flatten() * 0.25
    assert (len(times), times[0].item(), times[-1].item()) == (5, 13.0, 86.75)
    expected, other = plain.run(x, start)
    assert torch.equal(spikes, expected)
    assert torch.equal(state.v, other.v)


@pytest.mark.parametrize(
    "make",
    [
        lambda k: LIF(20.0, 0.3, 0.0, leak="exact", learnable=k),
        lambda k: Izhikevich(v_initial=-60.0, learnable=k),
        lambda k: MetaNeuron(learnable=k),
        lambda k: LevyBaxter(0.3, learnable=k),
    ],
)
def test_intrinsic_parameters_learn_a_rate_alone(make: object) -> None:
    """No weight is trained: parameters of the neuron bring its rate to a target."""
    torch.manual_seed(0)
    neuron = make(())  # type: ignore[operator]
    scale = 100.0 if type(neuron) is Izhikevich else 5.0
    x = 0.1 * scale * torch.rand(80, 4, 32)
    names = {"LIF": ("tau", "v_threshold"), "Izhikevich": ("d",),
             "MetaNeuron": MetaNeuron().learnable, "LevyBaxter": ("threshold",)}  # fmt: skip
    learner = make(names[type(neuron).__name__])  # type: ignore[operator]
    # No kernels: to compile them takes longer than these few steps.
    neuron.backend = learner.backend = "torch"
    rate = 1.5 * neuron(x).mean() + 0.01
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.005 * scale)
    for _ in range(25):
        optimizer.zero_grad()
        off = learner(x).mean() - rate
        off.square().backward()
        optimizer.step()
    assert learner(x).mean().sub(rate).abs() < 0.5 * neuron(x).mean().sub(rate).abs()
