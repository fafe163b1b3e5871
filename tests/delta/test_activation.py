"""The layer, its gradients and its loss term, against the published formulas."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.delta import DeltaActivation, L1Activation, measured
from spikesim.errors import UserError


def sequence(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def test_the_authors_own_example() -> None:
    """Four frames of four neurons, step 0.1, from the end of their custom_layers.py."""
    rows = [-1.1, 1.1, -1.1, 3.1], [-1.1, 0.1, -2.1, 0.1], [-0.1, 1.1, -1.1, 0.1]
    x = torch.tensor([*rows, [-0.1, 0.1, -1.1, 1.1]])[:, None]
    layer = DeltaActivation([4], step=0.1, rate=1e-3)
    with measured(layer) as found:
        y = layer(x)
    torch.testing.assert_close(y, x)  # all on the grid
    # |d|: 0 1 1 3, 1 1 1 0, 0 1 0 1: 10 in 12, 8 of them not 0
    assert found.penalty.item() == pytest.approx(1e-3 * 10 / 12)
    assert found.densities[""].item() == pytest.approx(8 / 12)


def test_order_of_sum_bias_activation_rounding_pooling() -> None:
    x = torch.zeros(2, 1, 1, 2, 2)
    x[0, 0, 0] = torch.tensor([[0.3, -2.0], [0.1, 0.0]])
    x[1, 0, 0] = torch.tensor([[0.3, 0.0], [0.6, 0.0]])
    layer = DeltaActivation(
        [1, 2, 2], step=0.5, sigma=True, bias=True, activation="relu", pool=nn.MaxPool2d(2)
    )
    assert layer.bias is not None
    layer.bias.data.fill_(0.2)
    # sums 0.3 -2 0.1 0, then 0.6 -2 0.7 0; + 0.2, positive: 0.5 0 0.3 0.2, 0.8 0 0.9 0.2
    # rounded 0.5 0 0.5 0, 1 0 1 0
    assert layer(x).flatten().tolist() == [0.5, 1.0]


def test_levels_by_hand_and_telescoping() -> None:
    x = sequence(0.3, 1.2, 1.1, -0.6)
    values = [0.5, 1.0, 1.0, -0.5]
    changes = {0: values, 1: [0.5, 0.5, 0.0, -1.5], 2: [0.5, 0.0, -1.5]}
    for level, wanted in changes.items():
        layer = DeltaActivation([1], step=0.5, level=level)
        y = layer(x)
        assert y.flatten().tolist() == wanted
        d = layer.differences(y)
        assert d.flatten().tolist() == [-0.5, 0.0, 1.5]
        assert d.sum().item() == values[0] - values[-1]  # parity check 3
        assert layer.penalty(y).item() == pytest.approx(2.0 / 3)
        assert layer.density(y).item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("gradient", "wanted"),
    [
        ("published", [-(1 * 1 + 10 * 0), -(100 * -2 + 1000 * 3)]),
        ("lsq", [1 * (1 - 0.8) + 10 * (0 - 0.3), 100 * (-2 + 1.6) + 1000 * (3 - 3.2)]),
    ],
)
def test_gradients_of_the_grid_by_hand(gradient: Any, wanted: list[float]) -> None:
    """Two channels, two samples; what comes back is 1, 10, 100, 1000."""
    layer = DeltaActivation([2], step=0.5, gradient=gradient)
    a = torch.tensor([[[0.4, -0.8], [0.15, 1.6]]], requires_grad=True)
    incoming = torch.tensor([[[1.0, 100.0], [10.0, 1000.0]]])
    layer(a).backward(incoming)
    assert a.grad is not None
    assert torch.equal(a.grad, incoming)  # straight through
    assert layer.step.grad is not None
    assert layer.step.grad.tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("published", [True, False])
def test_grids_of_layers_channels_and_neurons_share_gradients(published: bool) -> None:
    """Sums of the finest give those of the coarser; the plain one by autograd of the formula."""
    a, incoming = torch.randn(3, 2, 4, 5, 5), torch.randn(3, 2, 4, 5, 5)
    found = {}
    for granularity in ("layer", "channel", "neuron"):
        layer = DeltaActivation(
            [4, 5, 5],
            step=0.3,
            granularity=granularity,
            gradient="published" if published else "lsq",
        )
        layer(a).backward(incoming)
        assert layer.step.grad is not None
        found[granularity] = layer.step.grad
    assert found["neuron"].shape == (4, 5, 5)
    torch.testing.assert_close(found["neuron"].sum((1, 2), keepdim=True), found["channel"])
    torch.testing.assert_close(found["channel"].sum().view(1), found["layer"])
    step = torch.tensor([0.3], requires_grad=True)
    ratio = a / step
    held = (ratio.round() - ratio).detach() + (ratio.detach() if published else ratio)
    (held * step).backward(incoming)
    assert step.grad is not None
    torch.testing.assert_close(found["layer"], -step.grad if published else step.grad)


def test_gradient_of_the_loss_term() -> None:
    """Parity check 5: rate * fan_out / numel times the signs of both differences."""
    layer = DeltaActivation([1], step=1.0, rate=0.1, fan_out=18)
    a = sequence(0.0, 3.2, 1.1, 1.0).requires_grad_()
    layer.penalty(layer(a)).backward()
    one = 0.1 * 18 / 3
    # y = 0 3 1 1, d = -3 2 0
    assert a.grad is not None
    assert a.grad.flatten().tolist() == pytest.approx([-one, 2 * one, -one, 0.0])


def test_small_steps_are_the_float_network_and_its_rate_of_change() -> None:
    """Parity check 4."""
    a = torch.randn(20, 3, 50)
    held = torch.rand(20, 3, 50) < 0.6  # 60 % do not change
    held[0] = False
    for t in range(1, 20):
        a[t] = torch.where(held[t], a[t - 1], a[t])
    density = []
    for step in (1.0, 0.1, 1e-4):
        layer = DeltaActivation([50], step=step)
        y = layer(a)
        assert (y - a).abs().max() <= step / 2 + 1e-6
        density.append(layer.density(y).item())
    assert density == sorted(density)
    assert density[-1] == pytest.approx(1 - held[1:].double().mean().item(), abs=1e-3)


@pytest.mark.parametrize("q", [0.02, 0.1, 0.25])
def test_density_of_white_noise_is_the_closed_form(q: float) -> None:
    """Parity check 6; uniform from 0 to 1: the sum of squared cell probabilities stays the same.

    Cells are ``[0, q/2), [q/2, 3q/2), ...``: of ``n = 1 / q`` cells two are half as large.
    """
    layer = DeltaActivation([1000], step=q)
    a = torch.rand(101, 10, 1000)
    n = round(1 / q)
    same = (n - 1) * q**2 + 2 * (q / 2) ** 2
    found = layer.density(layer(a)).item()
    assert found == pytest.approx(1 - same, abs=5 * math.sqrt(same * (1 - same) / 1e6) + 1e-4)
    assert found == pytest.approx(1 - q, abs=q**2)


def test_spatial_baseline_charges_sizes() -> None:
    layer = L1Activation(rate=2.0, fan_out=3.0)
    x = torch.tensor([[[1.0, -2.0, 0.0, 0.0]]], requires_grad=True)
    with measured(layer) as found:
        assert torch.equal(layer(x), x)
    assert found.penalty.item() == pytest.approx(2 * 3 * 3 / 4)
    assert found.densities[""].item() == 0.5
    found.penalty.backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.5, -1.5, 0.0, 0.0]


def test_published_gradient_of_the_loss_term_makes_the_grid_coarser() -> None:
    """The term is homogeneous in ``y``: ``-sum g y / q`` is ``-penalty / q`` (Euler)."""
    layer = DeltaActivation([3], step=0.3, granularity="layer", rate=0.7, fan_out=5)
    penalty = layer.penalty(layer(torch.rand(8, 16, 3) * 4))
    penalty.backward()
    assert layer.step.grad is not None
    assert layer.step.grad.item() == pytest.approx(-penalty.item() / 0.3, rel=1e-5)


def test_single_steps_and_steps_of_zero_are_finite() -> None:
    layer = DeltaActivation([2], step=1.0)
    with torch.no_grad():
        layer.step[0] = 0.0
    with measured(layer) as found:
        y = layer(torch.tensor([[[0.25, 0.6]]]))
    assert y[0, 0].tolist() == pytest.approx([0.25, 1.0])
    assert found.penalty.item() == 0.0
    assert found.densities[""].item() == 0.0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: DeltaActivation([2], step=0.0), "step must be > 0 and finite, got 0.0"),
        (lambda: DeltaActivation([2], step=float("inf")), "finite, got inf"),
        (lambda: DeltaActivation([2], rate=float("nan")), "rate and fan_out must be >= 0"),
        (lambda: DeltaActivation([2], rate=-1.0), "rate and fan_out must be >= 0"),
        (lambda: DeltaActivation([2], granularity="row"), "granularity must be one of"),
        (lambda: DeltaActivation([2], level=3), "level must be one of"),
        (lambda: DeltaActivation([2])(torch.zeros(1, 1, 3)), r"expected \[T, B, \*\[2\]\]"),
        (lambda: measured(nn.ReLU()).__enter__(), "no DeltaActivation"),
        (lambda: measured(L1Activation()).__enter__().penalty, "nothing was measured"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        wrong()
