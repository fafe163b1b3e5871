"""Layers over time, and the neuron of the models."""

import math

import pytest
import torch
from torch import nn

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed, conv_bn, neuron_factory
from spikesim.neurons import ALIF, CUBALIF, IF, ILIF, LIF, PLIF


def test_each_step_is_treated_alike() -> None:
    conv = nn.Conv2d(2, 3, 3, stride=2)
    x = torch.rand(4, 5, 2, 9, 8)
    expected = torch.stack([conv(step) for step in x])
    torch.testing.assert_close(TimeDistributed(conv)(x), expected)


def test_batch_statistics_join_steps_and_batch() -> None:
    x = torch.randn(4, 5, 3, 6, 6) * 2 + 1
    out = TimeDistributed(nn.BatchNorm2d(3))(x)
    mean = x.mean((0, 1, 3, 4), keepdim=True)
    variance = x.var((0, 1, 3, 4), keepdim=True, unbiased=False)
    torch.testing.assert_close(out, (x - mean) / (variance + 1e-5).sqrt())


def test_channels_last_gives_the_same() -> None:
    layer = conv_bn(8, 4, 3)
    x = torch.rand(2, 3, 8, 6, 6)
    expected = layer(x)
    last = layer.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(last, expected)


def test_missing_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[T, B, ...\]"):
        TimeDistributed(nn.Identity())(torch.zeros(4, 5))


@pytest.mark.parametrize(
    ("value", "expected"), [(2.0, [1, 1, 1, 1]), (1.5, [0, 1, 0, 1]), (0.99, [0, 0, 0, 0])]
)
def test_neuron_of_the_models_by_hand(value: float, expected: list[int]) -> None:
    # u = value/2; 1.5: 0.75, 1.125 (fires), 0.75, 1.125 (fires)
    spikes = neuron_factory()(1.0)(torch.full((4, 1, 1), value))
    assert spikes.flatten().tolist() == expected


@pytest.mark.parametrize(
    ("name", "kind", "v_reset"),
    [
        ("lif", LIF, 0.0),
        ("lif_soft", LIF, None),
        ("plif", PLIF, 0.0),
        ("if", IF, 0.0),
        ("alif", ALIF, None),
        ("cuba_lif", CUBALIF, 0.0),
        ("ilif", ILIF, None),
    ],
)
def test_names_make_the_neuron_they_say(name: str, kind: type, v_reset: float | None) -> None:
    make = neuron_factory(name, threshold=0.5)
    assert (make(1.0).v_threshold, make(0.5).v_threshold) == (0.5, 0.25)
    neuron = make(1.0)
    assert type(neuron) is kind
    assert neuron.detach_reset
    assert getattr(neuron, "v_reset", None) == v_reset


@pytest.mark.parametrize(
    ("name", "at_threshold"),
    [
        ("sigmoid", 4 / 4),
        ("atan", 2 / 2),
        ("fast_sigmoid", 1.0),
        ("triangle", 1.0),
        ("rectangle", 1.0),
        ("gaussian", 2 / math.sqrt(2 * math.pi)),
        # 0.5 (1.15 N(0; 0.5) - 2 * 0.15 N(0.5; 3))
        ("multi_gaussian", (1.15 - 0.05 * math.exp(-1 / 72)) / math.sqrt(2 * math.pi)),
    ],
)
def test_surrogate_has_its_closed_form_gradient(name: str, at_threshold: float) -> None:
    x = torch.full((1, 1, 1), 2.0, requires_grad=True)  # u = 1, on the threshold
    neuron_factory("lif", surrogate=name)(1.0)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(at_threshold / 2)


def test_unknown_neuron_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'plif'"):
        neuron_factory("plfi")
