"""Layers in a row: which pairs run as one operator, and what hooks on them see."""

import copy

import pytest
import torch
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import LIF

X = (3, 4, 3)


def pair() -> SpikingSequential:
    return SpikingSequential(TimeDistributed(BatchNorm(3)), LIF())


def test_hook_on_the_neuron_sees_its_spikes_and_what_makes_its_input() -> None:
    ours = pair()
    seen: list[tuple[tuple[object, ...], Tensor]] = []
    ours[1].register_forward_hook(lambda _, inputs, output: seen.append((inputs, output)))
    x = torch.randn(X) * 2
    out = ours(x)
    ((given, norm), spikes) = seen[0]
    assert torch.equal(spikes, out)
    assert given is x
    assert torch.equal(ours[1](norm(x)), out)  # type: ignore[operator]


@pytest.mark.parametrize("where", ["norm", "holder"])
def test_hook_on_the_norm_sees_normalised_values_and_changes_no_spike(where: str) -> None:
    ours = pair()
    x = torch.randn(X) * 2
    plain = copy.deepcopy(ours)
    seen: list[Tensor] = []
    module = ours[0][0] if where == "norm" else ours[0]
    handle = module.register_forward_hook(lambda _m, _i, output: seen.append(output))
    outputs = [model(x) for model in (ours, plain)]
    assert torch.equal(*outputs)
    for out in outputs:
        (out * torch.linspace(-1, 1, 3)).sum().backward()
    for got, expected in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad)
    assert seen[0].mean().abs() < 1e-6
    handle.remove()
    ours(x)
    assert len(seen) == 1


def test_other_modules_are_left_alone() -> None:
    """A foreign spiking layer, torch's norm, and a norm with something in between."""
    x = torch.randn(X) * 2
    relu = SpikingSequential(TimeDistributed(BatchNorm(3)), nn.ReLU())
    expected = torch.relu(nn.BatchNorm1d(3)(x.flatten(0, 1)).view(x.shape))
    torch.testing.assert_close(relu(x), expected)
    calls: list[int] = []
    for layers in (
        (TimeDistributed(nn.BatchNorm1d(3)), LIF()),
        (TimeDistributed(BatchNorm(3), nn.Identity()), LIF()),
        (BatchNorm(4), LIF()),  # of [T, B, C]: torch's reading, channels second
        (LIF(), TimeDistributed(BatchNorm(3))),
        (TimeDistributed(), LIF()),
    ):
        model = SpikingSequential(*layers)
        expected = nn.Sequential(*layers)(x)
        for module in model:
            module.register_forward_pre_hook(lambda _m, inputs: calls.append(len(inputs)))
        assert torch.equal(model(x), expected)
    assert calls == [1] * 10


def test_slices_of_a_sequential_run_as_the_whole() -> None:
    ours = SpikingSequential(TimeDistributed(nn.Linear(3, 4), BatchNorm(4)), LIF(), nn.Identity())
    x = torch.randn(X)
    ours.eval()
    assert isinstance(ours[:2], SpikingSequential)
    assert torch.equal(ours[:2](x), ours(x))


@pytest.mark.parametrize("training", [True, False])
def test_norm_alone_is_torchs(training: bool) -> None:
    ours = BatchNorm(3).double()
    other = nn.BatchNorm2d(3).double()
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(other.state_dict())
    ours.train(training), other.train(training)
    x = torch.randn(5, 3, 4, 2, dtype=torch.float64)
    grads = []
    for norm in (ours, other):
        y = x.clone().requires_grad_()
        out = norm(y)
        (out * torch.linspace(-1, 1, 2)).sum().backward()
        grads.append((out, y.grad, norm.weight.grad, norm.bias.grad))
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    assert ours(x.float().half()).dtype == torch.float16


def test_single_value_is_refused_as_torch_does_and_served_in_evaluation() -> None:
    for norm in (BatchNorm(3), nn.BatchNorm2d(3)):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            norm(torch.zeros(1, 3, 1, 1))
        assert norm.eval()(torch.zeros(1, 3, 1, 1)).shape == (1, 3, 1, 1)
    assert pair().eval()(torch.zeros(4, 0, 3)).shape == (4, 0, 3)
