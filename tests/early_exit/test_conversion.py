"""Quantised activations and the neurons that count up to them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikesim.early_exit import HalfChargedIF, Levels, to_spiking
from spikesim.encoders import Direct
from spikesim.errors import UserError


@given(x=st.floats(-1.0, 3.0), threshold=st.floats(0.1, 2.0), T=st.integers(1, 20))
@settings(deadline=None, max_examples=40)
def test_a_constant_input_gives_the_rounded_count(x: float, threshold: float, T: int) -> None:
    exact = T * x / threshold + 0.5
    neuron = HalfChargedIF(threshold)
    neuron.backend = "torch"
    spikes = neuron(torch.full((T, 1, 1), x, dtype=torch.float64)).sum().item()
    if abs(exact - round(exact)) > 1e-6:
        assert spikes == min(max(math.floor(exact), 0), T)


def test_as_many_steps_as_levels_give_the_answers_of_the_network() -> None:
    levels = Levels(bits=3, scale=0.2)
    conv, norm = nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)
    network = nn.Sequential(conv, norm, levels, nn.Flatten(), nn.Linear(4 * 9, 5))
    x = torch.rand(64, 2, 6, 6)
    for _ in range(20):
        network(x)  # running statistics
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -0.5, 0.5)
    network.eval()
    model = to_spiking(network)
    with torch.no_grad():
        found, wanted = model(Direct(7)(x)).mean(0), network(x)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)
    assert all(parameter.numel() for parameter in network.parameters())
    with torch.no_grad():
        assert network(x).equal(wanted)  # the network itself is left alone


def test_spikes_are_zero_or_one_behind_every_layer() -> None:
    layers = [nn.Linear(6, 8), Levels(2, 0.3), nn.Linear(8, 8), Levels(2, 0.7), nn.Linear(8, 3)]
    model = to_spiking(layers)
    seen = []
    for module in model:
        if isinstance(module, HalfChargedIF):
            module.register_forward_hook(lambda m, i, out: seen.append(out.unique().tolist()))
    model(torch.rand(9, 5, 6))
    assert len(seen) == 2
    assert all(set(values) <= {0.0, 1.0} for values in seen)
    assert [m.v_threshold for m in model if isinstance(m, HalfChargedIF)] == pytest.approx(
        [0.9, 2.1]
    )


def test_gradients_of_the_learned_step() -> None:
    levels = Levels(bits=2, scale=0.5)
    x = torch.tensor([[-1.0, 0.3, 0.9, 9.0]], requires_grad=True)
    levels(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    # Esser et al. (2020), equation 3: round(v) - v inside, 3 above, 0 below; four values, Q = 3.
    of_scale = (1 - 0.6) + (2 - 1.8) + 3
    assert levels.scale.grad == pytest.approx(of_scale / math.sqrt(4 * 3))


def test_levels_need_a_map_behind_them_that_takes_in_their_height() -> None:
    first, levels, last = nn.Linear(3, 4), Levels(bits=2, scale=0.5), nn.Linear(4, 2)
    with pytest.raises(UserError, match="Levels follows Levels"):
        to_spiking([first, levels, nn.Flatten(), Levels(bits=3), last])
    with pytest.raises(UserError, match="the last layer must be"):
        to_spiking([first, levels, nn.Flatten()])


def test_the_network_that_is_converted_stays_in_training() -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Levels(), nn.Flatten(), nn.Linear(8, 2)
    )
    to_spiking(layers.train())
    assert all(layer.training for layer in layers)
