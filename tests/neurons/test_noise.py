"""Neurons that fire at random."""

import math

import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.tape import trace
from spikesim.neuron import Neuron
from spikesim.neurons import LIFEscape, LIFExp, PoissonNeuron
from spikesim.random import place

# Of a standard deviation: a seed is fixed, so that these fail never or always.
SIGMAS = 4.0


def inputs(neuron: Neuron, steps: int, count: int) -> dict[str, Tensor]:
    return {name: torch.zeros(steps, 1, count) for name in neuron.inputs}


def run(neuron: Neuron, x: Tensor | dict[str, Tensor], seed: int = 7) -> Tensor:
    place(neuron, seed=seed)
    return neuron(x)


@pytest.mark.parametrize("dt", [0.1, 1.0])
def test_poisson_counts_have_equal_mean_and_variance(dt: float) -> None:
    steps, count = round(1000.0 / dt), 2000
    spikes = run(PoissonNeuron(rate=20.0, dt=dt), torch.full((steps, 1, count), 10.0))
    counts = spikes.sum(0).flatten().double()
    p = 1 - math.exp(-0.03 * dt)
    assert counts.mean().item() == pytest.approx(
        steps * p, abs=SIGMAS * math.sqrt(steps * p / count)
    )
    fano = counts.var() / counts.mean()
    assert fano.item() == pytest.approx(1 - p, abs=SIGMAS * math.sqrt(2 / count))
    # No memory: the chance of a spike right after one is that of any.
    after = spikes[1:][spikes[:-1] == 1].double()
    assert after.mean().item() == pytest.approx(p, abs=SIGMAS * math.sqrt(p / len(after)))


def test_poisson_rates_may_differ_and_be_silenced() -> None:
    rates = torch.tensor([0.0, 5.0, 500.0, 20.0])
    x = torch.zeros(20_000, 1, 4)
    x[..., 3] = -20.0
    found = run(PoissonNeuron(rates), x).mean(0).flatten()
    assert found[0] == found[3] == 0
    assert found[1].item() == pytest.approx(0.005, rel=0.3)
    assert found[2].item() == pytest.approx(1 - math.exp(-0.5), rel=0.03)
    with pytest.raises(UserError, match=r"rate must be >= 0, got -1.0"):
        PoissonNeuron(rate=-1.0)


@pytest.mark.parametrize("t_ref", [0.0, 3.0])
def test_escape_rate_is_exponential_in_the_distance_to_threshold(t_ref: float) -> None:
    """A membrane that does not move: intervals are geometric, after the refractory period."""
    above = torch.tensor([-2.0, 0.0, 3.0])
    neuron = LIFEscape(
        rho_0=0.05, delta_u=1.5, tau_m=1e9, e_l=-55.0 + above, v_reset=-55.0 + above, t_ref=t_ref
    )
    spikes = run(neuron, inputs(neuron, 100_000, 3))[:, 0].T
    for train, excess in zip(spikes, above.tolist(), strict=True):
        p = 1 - math.exp(-0.05 * math.exp(excess / 1.5))
        gaps = train.nonzero().flatten().diff().double()
        assert gaps.min() == t_ref + 1
        error = SIGMAS * math.sqrt((1 - p) / p**2 / len(gaps))
        assert gaps.mean().item() == pytest.approx(t_ref + 1 / p, abs=error)


def test_a_sharp_threshold_is_that_of_the_plain_neuron() -> None:
    torch.manual_seed(2)
    x = inputs(LIFExp(), 400, 50)
    x["excitatory"] = 400.0 * torch.rand(400, 1, 50)
    plain = LIFExp()
    sharp = LIFEscape(rho_0=50.0, delta_u=1e-6)
    expected = plain(x)
    assert expected.mean() > 0.02
    assert torch.equal(run(sharp, x), expected)


def test_equal_places_give_equal_spikes() -> None:
    neuron = LIFEscape(i_e=350.0)
    x = inputs(neuron, 200, 20)
    first, second, other = run(neuron, x, 1), run(neuron, x, 1), run(neuron, x, 2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    neuron.backend = "torch"
    assert (run(neuron, x, 1) != first).double().mean() <= 1e-3  # exp differs in the last bits


@pytest.mark.parametrize("make", [LIFEscape, PoissonNeuron])
def test_probabilities_learn(make: type[Neuron]) -> None:
    names = [n for n in make().parameter_names if n != "t_ref"]
    neuron = make(learnable=names)
    x = {n: v + (100.0 if n != "x" else 30.0) for n, v in inputs(neuron, 60, 8).items()}
    x = {n: v.requires_grad_() for n, v in x.items()}
    run(neuron, x).sum().backward()
    for name, parameter in neuron.named_parameters():
        assert torch.isfinite(parameter.grad), name
    assert all(value.grad.abs().sum() > 0 for value in x.values())
    assert any(line.op == "bernoulli" for line in trace(neuron).lines)
