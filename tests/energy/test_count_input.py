"""What counting refuses, in words."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spikesim.energy import Cost, Widths, count, register
from spikesim.errors import UserError
from spikesim.neurons import IF

T, B = 3, 2


NAN = torch.full((T, B, 4), torch.nan)


def broken(change: Callable[[nn.Linear], object]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.Linear(4, 4))
    change(model[2])
    return model


class Divides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x - x)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (nn.Linear(4, 4), [], "no batch"),
        (nn.Linear(4, 4), torch.ones(0, B, 4), r"a batch is \[0, 2, 4\]; expected \[T, B, ...\]"),
        (nn.Linear(4, 4), [torch.ones(T, 0, 4)], "not empty"),
        (nn.Linear(4, 4), torch.ones(4), r"expected \[T, B, ...\]"),
        (nn.Linear(4, 4), [None], "a batch is a tensor, .* got NoneType"),
        (nn.Linear(4, 4), [torch.ones(2, B, 4), torch.ones(3, B, 4)], "2 and 3 steps"),
        (nn.Linear(4, 4), [torch.ones(T, B, 4), NAN], "batch 1 of the data"),
        (broken(lambda m: m.weight.data[0].fill_(torch.nan)), torch.ones(T, B, 4), "2.weight"),
        (nn.Sequential(Divides(), nn.Linear(4, 4)), torch.ones(T, B, 4), "layer '1' gave"),
    ],
)
def test_bad_input_is_named(model: nn.Module, data: list[Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        count(model, data)


def test_bad_arguments_are_named() -> None:
    layer, x = nn.Linear(4, 4), torch.ones(T, B, 4)
    with pytest.raises(UserError, match="no layout 'TX'"):
        count(layer, x, layout="TX")
    for steps in (0, -1, float("nan"), 1.5, "2"):
        with pytest.raises(UserError, match=f"steps must be a whole number >= 1, got {steps!r}"):
            count(layer, x, steps=steps)
    with pytest.raises(UserError, match=r"class of torch.nn.Module, got 3"):
        register(3, lambda *_: ())
    with pytest.raises(UserError, match="cost of Linear must be a function"):
        count(layer, x, costs={nn.Linear: 7})


def test_a_rule_that_gives_no_counts_is_named() -> None:
    layer, x = nn.Linear(4, 4), torch.ones(T, B, 4)
    for given in (None, 3.0, "much", [7]):
        with pytest.raises(UserError, match="cost of Linear must be a Cost or several, got"):
            count(layer, x, costs={nn.Linear: lambda *_, given=given: given})
    for name in ("macs", "additions", "effective", "inputs", "states"):
        for number in (-1.0, float("nan"), float("inf")):
            cost = Cost(kind="linear", **{name: number})
            with pytest.raises(UserError, match=f"cost of Linear has {name}={number}, expected"):
                count(layer, x, costs={nn.Linear: lambda *_, cost=cost: cost})
    for cost, named in (
        (Cost(kind="Linear"), "kind='Linear'; did you mean 'linear'"),
        (Cost(kind="gate"), "kind='gate'; known: conv, "),
        (Cost(kind="linear", macs=torch.tensor(5.0)), r"macs=tensor\(5.\), expected a count"),
        (Cost(kind="linear", macs="5"), "macs='5', expected a count"),
        (Cost(kind="linear", weight=3.0), "weight=3.0, expected a tensor"),
    ):
        with pytest.raises(UserError, match=f"cost of Linear has {named}"):
            count(layer, x, costs={nn.Linear: lambda *_, cost=cost: cost})
    for wrong in (torch.tensor([float("nan")]), -torch.ones(4)):
        cost = Cost(kind="linear", macs=5.0, effective=wrong)
        with pytest.raises(UserError, match="effective operations of 'linear' add up to"):
            count(layer, x, costs={nn.Linear: lambda *_, cost=cost: cost})


@pytest.mark.parametrize("part", ["weight", "activation", "spike", "state"])
def test_widths_are_numbers_of_bits(part: str) -> None:
    for bits in (-1, float("nan"), float("inf"), "8", None):
        with pytest.raises(UserError, match=f"{part} must be a number of bits >= 0, got {bits!r}"):
            Widths(**{part: bits})
    (line,) = count(nn.Sequential(IF()), torch.ones(T, B, 4))
    assert line.traffic(Widths(state=0)).state_reads == 0
    assert Widths(**{part: 0}) != Widths()
