"""LSQ against its published formula, by hand, by numbers and by finite differences."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikesim.compression import LSQ, fold, integers, quantize
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed, conv_bn_neuron
from spikesim.neurons import LIF


def made(weight: Tensor, step: float | list[float], bits: int, **options: Any) -> LSQ:
    lsq = LSQ(weight, bits, **options)
    lsq.step.data.copy_(torch.tensor(step).reshape(lsq.step.shape))
    return lsq


def test_two_bits_by_hand() -> None:
    # Q_N = 2, Q_P = 1: w / s = -3, -2, -0.6, 0.4, 0.9, 1, 1.5
    weight = torch.tensor([-1.5, -1.0, -0.3, 0.2, 0.45, 0.5, 0.75], requires_grad=True)
    lsq = made(weight, 0.5, bits=2)
    quantised = lsq(weight)
    assert quantised.tolist() == [-1.0, -1.0, -0.5, 0.0, 0.5, 0.5, 0.5]
    quantised.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [0, 0, 1, 1, 1, 0, 0]
    # -2 - 2 + (-1 + 0.6) + (0 - 0.4) + (1 - 0.9) + 1 + 1, times 1 / sqrt(7 * 1)
    assert lsq.step.grad is not None
    assert lsq.step.grad.item() == pytest.approx(-2.7 / math.sqrt(7), rel=1e-6)


def test_gradient_of_the_step_along_the_published_curve() -> None:
    # Figure 2 of the paper, Q_N = 0 .. here signed, bits=3: -4 below, a saw tooth, 3 above.
    ratio = torch.linspace(-6, 6, 241, dtype=torch.float64) + 1e-3
    expected = torch.where(ratio <= -4, -4.0, torch.where(ratio >= 3, 3.0, ratio.round() - ratio))
    scale = 1 / math.sqrt(1 * 3)
    for r, wanted in zip(ratio.tolist(), expected.tolist(), strict=True):
        weight = torch.tensor([r * 0.25], dtype=torch.float64)
        lsq = made(weight, 0.25, bits=3).double()
        lsq(weight).sum().backward()
        assert lsq.step.grad is not None
        assert lsq.step.grad.item() == pytest.approx(wanted * scale, abs=1e-12)


def test_gradients_are_those_of_the_quantiser_with_its_rounding_errors_held() -> None:
    """The straight-through estimator, in other words; finite differences are the oracle."""
    weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    lsq = LSQ(weight, 3, per="channel").double()
    step = lsq.step.detach().clone().requires_grad_()
    error = (weight / step).round().detach() - (weight / step).detach()

    def smooth(weight: Tensor, step: Tensor) -> Tensor:
        ratio = weight / step
        inside = (ratio > -4) & (ratio < 3)
        return torch.where(inside, ratio + error, ratio.clamp(-4, 3)) * step

    assert torch.autograd.gradcheck(smooth, (weight, step))
    incoming = torch.randn(4, 6, dtype=torch.float64)
    by_weight, by_step = torch.autograd.grad(smooth(weight, step), (weight, step), incoming)
    lsq(weight).backward(incoming)
    assert weight.grad is not None
    assert lsq.step.grad is not None
    torch.testing.assert_close(weight.grad, by_weight)
    torch.testing.assert_close(lsq.step.grad, by_step / math.sqrt(6 * 3))


@pytest.mark.parametrize(("bits", "highest"), [(2, 1), (3, 3), (4, 7), (8, 127)])
def test_first_step_is_the_published_one(bits: int, highest: int) -> None:
    weight = torch.tensor([[1.0, -3.0], [2.0, -6.0]])
    assert LSQ(weight, bits).step.item() == pytest.approx(2 * 3.0 / math.sqrt(highest))
    of_channels = LSQ(weight, bits, per="channel").step
    assert of_channels.shape == (2, 1)
    wanted = torch.tensor([4.0, 8.0]) / math.sqrt(highest)
    torch.testing.assert_close(of_channels.flatten().detach(), wanted)


@settings(max_examples=30, deadline=None)
@given(
    bits=st.integers(2, 8),
    numbers=st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=12),
    step=st.floats(-2.0, 2.0, width=32),
)
def test_any_weights_lie_on_at_most_two_to_the_bits_levels(
    bits: int, numbers: list[float], step: float
) -> None:
    layer = nn.Linear(len(numbers), 1)
    layer.weight.data.copy_(torch.tensor([numbers]))
    quantize(layer, bits)
    layer.parametrizations["weight"][0].step.data.fill_(step)
    whole, size = integers(layer)
    assert -(2 ** (bits - 1)) <= int(whole.min()) <= int(whole.max()) <= 2 ** (bits - 1) - 1
    assert torch.equal(whole * size, layer.weight)
    inside = (torch.tensor(numbers) / size).abs() < 2 ** (bits - 1) - 1
    distance = (layer.weight[0] - torch.tensor(numbers))[inside].abs()
    assert bool((distance <= size * 0.5 * (1 + 1e-5) * 1.001 + 1e-6).all())


@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_sums_of_spikes_in_whole_numbers_are_the_layer_exactly(per: Any) -> None:
    layer = quantize(nn.Conv2d(3, 4, 3, padding=1, bias=False), 4, per=per)
    lsq = layer.parametrizations["weight"][0]
    lsq.step.data.copy_(2.0 ** lsq.step.data.log2().round())  # products with it do not round
    spikes = (torch.rand(5, 3, 8, 8) < 0.3).float()
    whole, size = integers(layer)
    assert whole.dtype == torch.int8
    sums = nn.functional.conv2d(spikes.double(), whole.double(), padding=1)
    assert torch.equal(sums, sums.round())
    assert torch.equal((sums * size.reshape(-1, 1, 1)).float(), layer(spikes))


def test_a_model_learns_saves_loads_and_folds() -> None:
    def model() -> nn.Module:
        torch.manual_seed(1)
        return SpikingSequential(
            *conv_bn_neuron(2, 4, 3, LIF(v_threshold=0.3)),
            TimeDistributed(nn.Flatten(), nn.Linear(4 * 36, 3)),
        )

    x, one = torch.rand(4, 2, 2, 6, 6), quantize(model(), 3, per="channel")
    optimiser = torch.optim.SGD(one.parameters(), lr=0.5)
    before = copy.deepcopy(one.state_dict())
    one(x).square().sum().backward()
    optimiser.step()
    moved = [name for name, value in one.state_dict().items() if not value.equal(before[name])]
    assert sum("step" in name for name in moved) == 2
    assert sum("original" in name for name in moved) == 2
    one.eval()
    other = quantize(model(), 3, per="channel").eval()
    other.load_state_dict(one.state_dict())
    wanted = one(x)
    assert torch.equal(other(x), wanted)
    plain = fold(copy.deepcopy(one))
    assert torch.equal(plain(x), wanted)
    assert set(plain.state_dict()) == set(model().state_dict())
    levels = {len(m.weight.unique()) for m in plain.modules() if isinstance(m, nn.Linear)}
    assert max(levels) <= 8 * 3
    assert [m.weight_bits for m in plain.modules() if hasattr(m, "weight_bits")] == [3, 3]


def test_layers_left_out_keep_theirs_and_can_have_other_bits() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    first = model[0].weight.detach().clone()
    quantize(model, 2, exclude=["0", "2"])
    assert torch.equal(model[0].weight, first)
    assert not hasattr(model[0], "weight_bits")
    quantize(model, 8)
    assert [layer.weight_bits for layer in model] == [8, 2, 8]


def test_weights_of_zeros_are_quantised_to_zeros() -> None:
    layer = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(layer.weight)
    quantize(layer)(torch.ones(1, 3)).sum().backward()
    assert layer.weight.tolist() == [[0.0] * 3] * 2
    original = layer.parametrizations["weight"].original
    assert torch.isfinite(original.grad).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: quantize(nn.Linear(2, 2), 1), "from 2 to 8, got 1"),
        (lambda: quantize(nn.Linear(2, 2), 9), "from 2 to 8, got 9"),
        (lambda: quantize(nn.Linear(2, 2), 2.5), "whole number from 2 to 8, got 2.5"),
        (lambda: quantize(nn.Linear(2, 2), per="row"), "'tensor' or 'channel', got 'row'"),
        (lambda: quantize(nn.Linear(2, 2), exclude=["head"]), "'head' names none"),
        (lambda: quantize(nn.ReLU()), "no linear layer"),
        (lambda: LSQ(torch.tensor([math.nan]), 4), "NaN or infinite"),
        (lambda: integers(nn.Linear(2, 2)), "is not quantised"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        wrong()
