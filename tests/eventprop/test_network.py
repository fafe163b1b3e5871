"""Layers, readout, penalty and the published recipe."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spikesim.errors import UserError
from spikesim.eventprop import (
    SHD_FEED_FORWARD,
    SHD_RECURRENT,
    SSC,
    EventLIF,
    EventReadout,
    Recipe,
    Spikes,
    count_penalty,
)


def some_spikes(batch: int = 3, size: int = 4) -> Spikes:
    random = np.random.default_rng(0)
    given = [(random.uniform(0, 40, 9), random.integers(0, size, 9)) for _ in range(batch)]
    return Spikes.of(given, size=size, duration=60.0)


@pytest.mark.parametrize("tau_s", [5.0, 19.99, 20.0, 40.0])
@pytest.mark.parametrize("tau_weight", [None, 15.0, math.inf])
def test_readout_is_the_integral_of_the_potential(tau_s: float, tau_weight: float | None) -> None:
    """Summed over small steps, with each spike's potential from a textbook."""
    spikes = some_spikes()
    readout = EventReadout(4, 2, tau_s=tau_s, tau_weight=tau_weight, weight=(0.1, 1.0))
    t = (torch.arange(30_000, dtype=torch.float64) + 0.5) * 2e-3
    expected = torch.zeros(3, 2, dtype=torch.float64)
    for time, neuron, sample in zip(spikes.times, spikes.neurons, spikes.samples, strict=True):
        u = (t - time).clamp(min=0.0)
        if tau_s == 20.0:
            v = u / 20.0 * torch.exp(-u / 20.0)
        else:
            v = tau_s / (20.0 - tau_s) * (torch.exp(-u / 20.0) - torch.exp(-u / tau_s))
        mean = (v * torch.exp(-t / (tau_weight or 60.0))).mean()
        expected[sample] += mean * readout.weight[:, neuron].double()
    torch.testing.assert_close(readout(spikes), expected, rtol=1e-6, atol=1e-9)


def test_readout_has_the_gradients_of_differences() -> None:
    spikes, readout = some_spikes(), EventReadout(4, 2)

    def run(times: torch.Tensor) -> torch.Tensor:
        return readout(dataclasses.replace(spikes, times=times))

    assert torch.autograd.gradcheck(run, spikes.times.clone().requires_grad_(), atol=1e-8)


def test_penalty_moves_spikes_of_busy_neurons_later() -> None:
    times = torch.tensor([1.0, 2.0, 3.0, 1.0], dtype=torch.float64, requires_grad=True)
    spikes = Spikes(times, torch.tensor([0, 0, 1, 0]), torch.tensor([0, 3, 4]), 3, 5.0)
    penalty = count_penalty(spikes, target=1.0, strength=0.2)
    # Means 1.5, 0.5 and 0: 0.1 (0.25 + 0.25 + 1); gradients -0.2 / 2 (mean - 1)
    assert penalty.item() == pytest.approx(0.15)
    (2 * penalty).backward()
    torch.testing.assert_close(times.grad, torch.tensor([-0.1, -0.1, 0.1, -0.1]).double())


def test_silent_neurons_are_woken() -> None:
    layer = EventLIF(4, 3)
    before = layer.weight.detach().clone()
    assert layer.wake(torch.tensor([0, 5, 0])) == 2
    change = torch.tensor([0.002, 0.0, 0.002])[:, None].expand(3, 4)
    torch.testing.assert_close(layer.weight.detach() - before, change, atol=1e-7, rtol=0)


def test_calls_bring_delays_back_into_their_range() -> None:
    layer = EventLIF(4, 3, recurrent=True, delay=(0.0, 9.0), max_delay=9.0)
    with torch.no_grad():
        layer.delay[0], layer.own_delay[0] = -1.0, 10.0
    layer(some_spikes())
    assert layer.delay[0].tolist() == [0.0] * 4
    assert layer.own_delay[0].tolist() == [9.0] * 3
    untouched = layer.delay.detach()[1:]
    assert 0.0 < float(untouched.min()) < float(untouched.max()) < 9.0


def test_recipes_have_the_published_values() -> None:
    torch.manual_seed(0)
    network = SHD_RECURRENT.network(700, 20)
    (layer,) = network.layers
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert shapes == {
        "layers.0.weight": (512, 700),
        "layers.0.delay": (512, 700),
        "layers.0.own_weight": (512, 512),
        "layers.0.own_delay": (512, 512),
        "readout.weight": (20, 512),
    }
    for weight, mean, deviation in ((layer.weight, 0.03, 0.01), (layer.own_weight, 0.0, 0.02),
                                    (network.readout.weight, 0.0, 0.03)):  # fmt: skip
        assert weight.mean().item() == pytest.approx(mean, abs=1e-3)
        assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert layer.delay.mean().item() == pytest.approx(75.0, rel=0.01)
    assert layer.own_delay.abs().max().item() == 0.0
    layers = SSC.network(700, 35).layers
    assert [(layer.inputs, layer.outputs) for layer in layers] == [(700, 1024), (1024, 1024)]
    assert layers[1].weight.mean().item() == pytest.approx(0.02, abs=1e-3)
    assert SHD_FEED_FORWARD.network(700, 20).layers[0].own_weight is None


def test_rates_are_eased_in() -> None:
    recipe = Recipe(hidden=(3,))
    network = recipe.network(4, 2)
    optimizer = recipe.optimizer(network)
    weights, delays = optimizer.param_groups
    assert (len(weights["params"]), len(delays["params"])) == (3, 2)
    rates = []
    for batch in (0, 1, 94, 95, 500):
        recipe.ease(optimizer, batch)
        rates.append(weights["lr"])
    assert rates == [1e-5, pytest.approx(1.05e-5), pytest.approx(1.05**94 * 1e-5), 1e-3, 1e-3]
    assert delays["lr"] == 0.1
    network.layers[0].delay.requires_grad_(False)
    assert len(recipe.optimizer(network).param_groups[1]["params"]) == 1


@pytest.mark.parametrize("dt", [None, 0.5])
def test_delays_alone_learn_the_order_of_two_spikes(dt: float | None) -> None:
    """One spike is followed 6 ms later by the other; no weight changes."""
    torch.manual_seed(1)
    recipe = Recipe(hidden=(4,), recurrent=False, weight_in=(4.2, 0.0), delay=(0.0, 20.0), dt=dt,
                    weight_out=(0.0, 3.0))  # fmt: skip
    network = recipe.network(2, 2)
    spikes = Spikes.of([([5.0, 11.0], [0, 1]), ([5.0, 11.0], [1, 0])], size=2, duration=80.0)
    for parameter in (network.layers[0].weight, network.readout.weight):
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam([network.layers[0].delay], lr=0.5)
    losses = []
    for _ in range(60):
        values, hidden = network(spikes)
        loss = F.cross_entropy(20 * values, torch.tensor([0, 1])) + recipe.penalty(hidden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert values.argmax(1).tolist() == [0, 1]


def test_errors_name_the_value() -> None:
    with pytest.raises(UserError, match="delay must be within 0 to 1000 ms, got -1"):
        EventLIF(2, 2, delay=(-1.0, 2.0))
    with pytest.raises(UserError, match="a layer needs inputs and outputs, got 0 and 2"):
        EventLIF(0, 2)
    with pytest.raises(UserError, match="input has 4 neurons, the layer takes 2"):
        EventLIF(2, 2)(some_spikes())
    with pytest.raises(UserError, match="input has 4 neurons, the readout takes 3"):
        EventReadout(3, 2)(some_spikes())
    with pytest.raises(UserError, match="tau_weight must be > 0 ms, got 0"):
        EventReadout(3, 2, tau_weight=0.0)
