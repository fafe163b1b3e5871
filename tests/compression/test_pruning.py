"""What is pruned, when, and what it saves: by hand and exactly."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from spikesim.compression import (
    GradualSparsity,
    fold,
    importance,
    prune,
    quantize,
    sparsity,
    usage,
    uses,
)
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons import LIF


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data.copy_(torch.tensor(rows))
    return layer


def test_uses_of_a_convolution_by_hand() -> None:
    # Padding 1, stride 2, kernel 3 on 4 pixels: outputs at pixels 0 and 2; weight 0 sees the
    # border and pixel 1, weight 1 pixels 0 and 2, weight 2 pixels 1 and 3.
    layer = nn.Conv1d(1, 2, 3, stride=2, padding=1)
    x = torch.tensor([[[0.5, 0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0, 0.0]]])
    each = [0 + 1.0, 2 + 1.0, 1 + 1.0]
    assert uses(layer, x).tolist() == [[each], [each]]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5),
        nn.Conv1d(6, 4, 3, dilation=2),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),
        nn.Conv3d(6, 2, 2, padding=(1, 0, 1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_uses_are_the_operations_of_each_weight(layer: Any) -> None:
    """One weight at a time against the number of outputs that an input of ones changes."""
    shape = (3, 6) if isinstance(layer, nn.Linear) else (3, 6, *[7] * len(layer.kernel_size))
    x = (torch.rand(shape) < 0.3).float()
    met = uses(layer, x)
    layer.bias.data.zero_()
    for index in torch.randint(layer.weight.numel(), (10,)).tolist():
        alone = torch.zeros_like(layer.weight).flatten()
        alone[index] = 1.0
        layer.weight.data.copy_(alone.view_as(layer.weight))
        assert layer(x).count_nonzero() == met.flatten()[index]


def test_global_and_layer_scope_by_hand() -> None:
    def model() -> nn.Sequential:
        return nn.Sequential(linear([4.0, -5.0], [6.0, 7.0]), linear([0.1, -0.3]))

    assert prune(model(), 0.5)[0].weight.tolist() == [[0.0, -5.0], [6.0, 7.0]]
    assert prune(model(), 0.5)[1].weight.tolist() == [[0.0, 0.0]]
    each = prune(model(), 0.5, scope="layer")
    assert each[0].weight.tolist() == [[0.0, 0.0], [6.0, 7.0]]
    torch.testing.assert_close(each[1].weight, torch.tensor([[0.0, -0.3]]))


def test_importance_may_be_negative() -> None:
    model = nn.Linear(4, 1, bias=False)
    by = torch.tensor([[-5.0, -4.0, -3.0, -2.0]])
    for share in (0.25, 0.5):  # what is pruned counts, however important the others are not
        prune(model, share, by={"": by})
    assert (model.weight == 0).tolist() == [[True, True, False, False]]


def test_powers_of_the_rate_by_hand() -> None:
    layer = linear([1.0, 2.0, 3.0])
    # input 0 spikes in 4 of 4 steps, input 1 in 1, input 2 never, which counts as once: mean 2
    x = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]).view(4, 1, 3)
    model = nn.Sequential(TimeDistributed(layer))
    assert importance(model)["0.0"].tolist() == [[1.0, 2.0, 3.0]]
    assert importance(model, [x], power=1)["0.0"].tolist() == [[2.0, 1.0, 1.5]]
    assert importance(model, [x], power=-1)["0.0"].tolist() == [[0.5, 4.0, 6.0]]
    # A second sample with spikes of input 1: a weight without counts half a spike a sample.
    both = torch.cat([x, torch.tensor([0.0, 1, 0]).expand(4, 1, 3)], 1)
    wanted = torch.tensor([[2.0, 2.5, 0.5]]) / (5 / 3) * torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(importance(model, [both], power=1)["0.0"], wanted)


def test_gradual_sparsity_is_the_published_formula() -> None:
    schedule = GradualSparsity(0.9, begin=10, end=110, initial=0.3)
    assert [schedule(t) for t in (0, 10, 60, 110, 500)] == pytest.approx(
        [0.3, 0.3, 0.9 - 0.6 * 0.5**3, 0.9, 0.9]
    )
    with pytest.raises(UserError, match="rise"):
        GradualSparsity(0.5, begin=0, end=1, initial=0.6)
    with pytest.raises(UserError, match="end must be > begin=3"):
        GradualSparsity(0.5, begin=3, end=3)


def test_what_is_pruned_stays_so_while_the_others_learn() -> None:
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1)
    schedule, gone = GradualSparsity(0.8, begin=0, end=4), torch.zeros(20, 10, dtype=torch.bool)
    for epoch in range(6):
        prune(model, schedule(epoch))
        assert sparsity(model) == pytest.approx(schedule(epoch), abs=0.5 / 300)
        now = model[0].weight == 0
        assert bool((now | ~gone).all()), "a pruned weight is back"
        gone = now
        before = model[0].weight.detach().clone()
        model(torch.randn(16, 10)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        assert torch.equal(model[0].weight == 0, gone)
        assert bool((model[0].weight != before)[~gone].any())
    weights = model[0].weight
    assert torch.equal(fold(model)[0].weight, weights)
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize("first", ["prune", "quantise"])
def test_pruned_and_quantised_layers_are_both(first: str) -> None:
    layer = nn.Linear(40, 10)
    sizes = layer.weight.detach().abs().flatten().sort().values
    if first == "prune":
        quantize(prune(layer, 0.5), 3)
    else:
        prune(quantize(layer, 3), 0.5)
    small = layer.weight[layer.parametrizations["weight"].original.abs() <= sizes[199]]
    assert int(small.count_nonzero()) == 0
    assert len(layer.weight.unique()) <= 8


def test_state_of_a_pruned_model_is_loaded() -> None:
    one = prune(nn.Sequential(nn.Linear(8, 8)), 0.5)
    other = prune(nn.Sequential(nn.Linear(8, 8)), 0.0)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other[0].weight, one[0].weight)
    assert sparsity(copy.deepcopy(other)) == 0.5


def test_usage_is_the_mean_over_samples_of_all_batches() -> None:
    model = nn.Sequential(TimeDistributed(nn.Linear(3, 2)), LIF(), TimeDistributed(nn.Linear(2, 1)))
    x = (torch.rand(5, 6, 3) < 0.5).float()
    whole = usage(model, [x])
    parts = usage(model, [x[:, :2], (x[:, 2:], torch.zeros(4))])
    assert whole["0.0"].tolist() == x.sum((0, 1)).double().div(6).expand(2, 3).tolist()
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: prune(nn.Linear(2, 2), 1.0), r"in \[0, 1\), got 1.0"),
        (lambda: prune(nn.Linear(2, 2), 0.1, scope="row"), "'global' or 'layer', got 'row'"),
        (lambda: prune(nn.Linear(2, 2), 0.1, by={"x": torch.ones(2, 2)}), "no importance"),
        (
            lambda: prune(nn.Linear(2, 2), 0.1, by={"": torch.ones(2, 1)}),
            r"\[2, 2\].* got \[2, 1\]",
        ),
        (
            lambda: prune(nn.Linear(2, 2), 0.1, by={"": torch.full((2, 2), torch.nan)}),
            "4 of them NaN",
        ),
        (lambda: prune(nn.ReLU(), 0.1), "no linear layer"),
        (lambda: importance(nn.Linear(2, 2), power=1), "no batch"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        wrong()
