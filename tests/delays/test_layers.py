"""Layers with delays: what they hold, how they round, clamp, pad and refuse."""

import copy
import math

import pytest
import torch
from torch import nn

from spikesim.delays import (
    DelayedConv1d,
    DelayedConv2d,
    DelayedLinear,
    DelayedRecurrent,
    WidthSchedule,
    parameter_groups,
)
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons import LIF


def test_evaluation_rounds_and_keeps_the_delays() -> None:
    layer = DelayedLinear(4, 3, max_delay=6, bumps=2, width=1.5)
    before = copy.deepcopy(layer.state_dict())
    x = torch.randn(20, 2, 4)
    rounded = copy.deepcopy(layer)
    rounded.delay.data.round_()
    assert torch.equal(layer.eval()(x), rounded.eval()(x))
    assert not torch.allclose(layer.train()(x), layer.eval()(x))
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())


def test_evaluation_has_exactly_the_weights() -> None:
    layer = DelayedLinear(1, 1, max_delay=6).eval()
    x = torch.zeros(9, 1, 1)
    x[1] = 1.0
    y = layer(x).flatten()
    assert y.count_nonzero() == 1
    assert y[1 + round(layer.delay.item())].item() == layer.weight.item()


def test_call_brings_delays_back_into_their_range() -> None:
    layer = DelayedLinear(3, 3, max_delay=5)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e4)
    x = torch.randn(12, 2, 3)
    # Twice before the backward pass: what the first call keeps must stay as it was.
    (layer(x) + layer(x)).square().sum().backward()
    optimiser.step()
    assert layer.delay.min().item() < 0.0 or layer.delay.max().item() > 5.0
    layer(x)
    assert 0.0 <= layer.delay.min().item() <= layer.delay.max().item() <= 5.0


def test_delays_have_the_unit_of_dt() -> None:
    steps = DelayedLinear(3, 2, max_delay=6)
    ms = DelayedLinear(3, 2, max_delay=60.0, dt=10.0)
    ms.load_state_dict(steps.state_dict() | {"delay": steps.delay.detach() * 10.0})
    x = torch.randn(15, 2, 3)
    torch.testing.assert_close(ms(x), steps(x))
    assert torch.equal(ms.eval()(x), steps.eval()(x))
    assert (ms.steps, ms.max_delay) == (6, 60.0)


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
@pytest.mark.parametrize("own", [1, 2])
@pytest.mark.parametrize("layer", [DelayedConv1d, DelayedConv2d])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_a_sum_of_shifted_ones(
    layer: type[DelayedConv2d], own: int, kind: str, groups: int
) -> None:
    if groups > 1 and kind == "axon":
        with pytest.raises(UserError, match="groups=1"):
            layer(4, 6, 3, groups=groups, delays=kind, max_delay=4)
        return
    kernel = 3 if layer is DelayedConv1d else (3, 2)
    conv = layer(
        4, 6, kernel, 2, 1, groups=groups, max_delay=4, bumps=own, delays=kind, bias=True
    ).eval()
    nn.init.normal_(conv.bias)
    x = torch.randn(7, 2, 4, *(9, 8)[: 1 if layer is DelayedConv1d else 2])
    function = nn.functional.conv1d if layer is DelayedConv1d else nn.functional.conv2d
    expected = 0.0
    for n in range(5):
        weight = conv.weight * (conv.delay.round() == n)
        weight = weight.sum(-1) if own > 1 else weight
        y = function(x.flatten(0, 1), weight, None, 2, 1, 1, groups).unflatten(0, (7, 2))
        expected = expected + torch.cat([torch.zeros_like(y[:n]), y[: 7 - n]])
    expected = expected + conv.bias.view(-1, *[1] * (x.dim() - 3))
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_shared_delays_of_a_convolution_train_as_their_own(kind: str) -> None:
    """Delays given to each synapse, all the same where shared, give the same output."""
    shared = DelayedConv2d(3, 4, 2, max_delay=4, delays=kind, width=0.6)
    each = DelayedConv2d(3, 4, 2, max_delay=4, width=0.6)
    each.weight.data.copy_(shared.weight.data)
    each.delay.data.copy_(shared.delay.data.expand_as(each.delay))
    x = torch.randn(6, 2, 3, 5, 4)
    torch.testing.assert_close(shared(x), each(x))
    shared(x).square().sum().backward()
    each(x).square().sum().backward()
    torch.testing.assert_close(shared.weight.grad, each.weight.grad, rtol=1e-4, atol=1e-4)
    summed = each.delay.grad.sum_to_size(shared.delay.shape)
    torch.testing.assert_close(shared.delay.grad, summed, rtol=1e-4, atol=1e-4)


def test_lengthened_output_holds_what_is_under_way() -> None:
    layer = DelayedLinear(3, 2, max_delay=4, lengthen=True).eval()
    short = copy.deepcopy(layer)
    short.lengthen = False
    x = torch.randn(5, 2, 3)
    padded = torch.cat([x, torch.zeros(2, 2, 3)])
    assert layer(x).shape == (7, 2, 2)
    assert torch.equal(layer(x), short(padded))


def test_layers_stand_in_time_distributed() -> None:
    conv = DelayedConv2d(2, 3, 3, max_delay=4, lengthen=True)
    x = torch.randn(5, 2, 2, 6, 6)
    layers = TimeDistributed(nn.Identity(), conv, nn.Flatten())
    assert torch.equal(layers(x), conv(x).flatten(2))


def test_width_shrinks_to_its_end_in_a_quarter_of_the_epochs() -> None:
    model = nn.Sequential(DelayedLinear(2, 2, max_delay=24), DelayedLinear(2, 2, max_delay=30))
    schedule = WidthSchedule(model, epochs=150)
    assert [float(layer.width) for layer in model] == [12.0, 15.0]
    found = [12.0]
    for _ in range(150):
        schedule.step()
        found.append(float(model[0].width))
    alpha = (0.23 / 12) ** (1 / (150 // 4))
    expected = [12 * alpha ** min(e, 37) for e in range(151)]
    assert found == pytest.approx(expected, rel=1e-6)
    assert found[37] == pytest.approx(0.23, abs=1e-6)
    assert found[37] + 0.27 == pytest.approx(0.5, abs=1e-6)
    assert float(model[1].width) == pytest.approx(0.23, abs=1e-6)
    again = WidthSchedule(model, epochs=150)
    again.set_epoch(20)
    assert float(model[0].width) == found[20]


def test_width_schedule_of_delrec() -> None:
    layer = DelayedLinear(2, 2, max_delay=24)
    schedule = WidthSchedule(layer, epochs=50, start=10.0, end=10 * 0.95**100, until=1.0)
    for epoch in (0, 1, 17, 50):
        schedule.set_epoch(epoch)
        assert float(layer.width) == pytest.approx(10 * 0.95 ** (100 * epoch / 50), rel=1e-6)


def test_groups_keep_decay_from_delays() -> None:
    model = nn.Sequential(
        DelayedLinear(2, 3, max_delay=4, bias=True), nn.BatchNorm1d(3), nn.Linear(3, 2)
    )
    model[2].weight.requires_grad_(False)
    weights, others, delays = parameter_groups(model, lr=0.5, weight_decay=0.25, delay_lr=2.0)
    assert [p is q for p, q in zip(weights["params"], [model[0].weight], strict=True)] == [True]
    assert len(others["params"]) == 4
    assert delays["params"][0] is model[0].delay
    assert [g["weight_decay"] for g in (weights, others, delays)] == [0.25, 0.0, 0.0]
    assert [g["lr"] for g in (weights, others, delays)] == [0.5, 0.5, 2.0]


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        ({"max_delay": -1}, "max_delay"),
        ({"max_delay": 2.5}, "whole steps"),
        ({"max_delay": 25.0, "dt": 10.0}, "whole steps of 10"),
        ({"max_delay": 5, "lengthen": True}, "even"),
        ({"max_delay": 5, "bumps": 0}, "bumps"),
        ({"max_delay": 5, "width": -0.1}, "width"),
        ({"max_delay": 5, "width": math.inf}, "width"),
        ({"max_delay": math.inf}, "max_delay .* got inf"),
        ({"max_delay": 5, "dt": math.inf}, "dt"),
        ({"max_delay": 5, "in_features": 0}, "sizes must be >= 1"),
        ({"max_delay": 5, "dt": 0.0}, "dt"),
        ({"max_delay": 5, "delays": "axons"}, "did you mean 'axon'"),
        ({"max_delay": 5, "shape": "gaus"}, "did you mean 'gauss'"),
    ],
)
def test_mistake_names_value_and_cure(given: dict[str, object], wish: str) -> None:
    with pytest.raises(UserError, match=wish):
        DelayedLinear(**({"in_features": 2, "out_features": 3} | given))  # type: ignore[arg-type]


def test_wrong_input_names_what_is_expected() -> None:
    with pytest.raises(UserError, match=r"expected \[T, B, 2\]"):
        DelayedLinear(2, 3, max_delay=2)(torch.zeros(4, 1, 3))
    with pytest.raises(UserError, match=r"expected \[T, B, 2, H, W\]"):
        DelayedConv2d(2, 3, 3, max_delay=2)(torch.zeros(4, 2, 8, 8))
    with pytest.raises(UserError, match="no delays"):
        WidthSchedule(nn.Linear(2, 2), 10)
    # Whole numbers would make whole weights of all, and so mostly 0.
    with pytest.raises(UserError, match=r"torch.int64; give x.float\(\)"):
        DelayedLinear(2, 3, max_delay=2)(torch.ones(4, 1, 2, dtype=torch.int64))
    for layer in (DelayedLinear(2, 3, max_delay=0), DelayedRecurrent(LIF(), 2, max_delay=1)):
        with pytest.raises(UserError, match="T must be >= 1"):
            layer(torch.zeros(0, 1, 2))


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (1, 3), (4, 0)])
def test_one_step_and_empty_batches_pass(kind: str, steps: int, batch: int) -> None:
    how = {"max_delay": 3, "delays": kind, "bumps": 2}
    line, conv = DelayedLinear(2, 3, **how), DelayedConv2d(2, 3, 2, **how)  # type: ignore[arg-type]
    assert line(torch.rand(steps, batch, 2)).shape == (steps, batch, 3)
    y = conv(torch.rand(steps, batch, 2, 4, 5))
    assert y.shape == (steps, batch, 3, 3, 4)
    y.sum().backward()
    assert conv.delay.grad is not None
    assert conv.delay.grad.isfinite().all()


def test_a_width_given_anew_is_looked_up_anew() -> None:
    layer, x = DelayedLinear(3, 2, max_delay=20), torch.rand(30, 1, 3)
    plain = copy.deepcopy(layer)
    # One is gone when the next is made, and often lies where it lay.
    for width in 3 * (0.1, 2.0):
        with torch.no_grad():
            found = torch.func.functional_call(layer, {"width": torch.tensor(width)}, (x,))
            plain.set_width(width)
            assert torch.equal(found, plain(x))


def test_more_axes_are_places_that_share_the_layer() -> None:
    layer = DelayedLinear(4, 3, max_delay=3)
    x = torch.randn(6, 2, 5, 4)
    torch.testing.assert_close(layer(x)[:, :, 2], layer(x[:, :, 2]))


def test_layer_runs_where_autograd_is_transformed() -> None:
    layer = DelayedLinear(3, 2, max_delay=3)
    x = torch.randn(5, 1, 3)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(given: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(layer, given, (x,)).square().sum()

    found = torch.func.grad(loss)(parameters)
    layer(x).square().sum().backward()
    for name, value in layer.named_parameters():
        torch.testing.assert_close(found[name], value.grad)
