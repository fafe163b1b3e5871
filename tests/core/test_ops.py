import math

import pytest
import torch

from spikesim import ops
from spikesim.errors import UserError
from spikesim.surrogate import ATan

NUMBERS = {
    "absolute": (-2.5, 2.5),
    "exp": (1.0, math.e),
    "log": (math.e, 1.0),
    "tanh": (0.5, math.tanh(0.5)),
    "round_": (2.5, 2.0),
    "detach": (3, 3.0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_unary_operators_agree_on_numbers_and_tensors(name: str) -> None:
    number, expected = NUMBERS[name]
    operator = getattr(ops, name)
    assert operator(number) == pytest.approx(expected, rel=1e-15)
    result = operator(torch.tensor([float(number)], dtype=torch.float64))
    assert result.item() == pytest.approx(expected, rel=1e-15)


def test_unary_operator_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UserError, match="exp takes a tensor, a number or a tape value, got '1'"):
        ops.exp("1")


def test_round_is_half_to_even_with_a_straight_gradient() -> None:
    a = torch.tensor([-0.5, 0.5, 1.5, 2.5, 2.6], requires_grad=True)
    rounded = ops.round_(a)
    assert rounded.tolist() == [0.0, 0.0, 2.0, 2.0, 3.0]
    rounded.backward(torch.arange(5.0))
    assert a.grad.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_detach_stops_the_gradient() -> None:
    a = torch.ones(2, requires_grad=True)
    assert not ops.detach(a).requires_grad


def test_where_takes_numbers_and_keeps_the_dtype() -> None:
    a = torch.tensor([1.0, 2.0], dtype=torch.float64)
    chosen = ops.where(a > 1.5, 7.0, a)
    assert chosen.tolist() == [1.0, 7.0]
    assert chosen.dtype == torch.float64
    assert ops.where(True, 1.0, 2.0) == 1.0
    with pytest.raises(UserError, match="no array to take its dtype from"):
        ops.where(a > 1.5, 1.0, 0.0)


@pytest.mark.parametrize(("name", "expected"), [("minimum", [1.0, 2.0]), ("maximum", [2.0, 3.0])])
def test_minimum_and_maximum_give_a_tie_one_gradient(name: str, expected: list[float]) -> None:
    a = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    b = torch.tensor([2.0, 2.0, 2.0], requires_grad=True)
    chosen = getattr(ops, name)(a, b)
    assert chosen[:2].tolist() == expected
    chosen.sum().backward()
    assert (a.grad + b.grad).tolist() == [1.0, 1.0, 1.0]


def test_extremes_of_plain_numbers() -> None:
    assert ops.minimum(1.0, 3.0) == 1.0
    assert ops.maximum(1.0, 3.0) == 3.0
    assert ops.clamp(5.0, 0.0, 4.0) == 4.0


def test_clamp_passes_the_gradient_inside_and_on_its_borders() -> None:
    a = torch.tensor([-0.1, 0.0, 2.0, 4.0, 4.1], requires_grad=True)
    clamped = ops.clamp(a, 0.0, 4.0)
    assert clamped.tolist() == [0.0, 0.0, 2.0, 4.0, 4.0]
    clamped.sum().backward()
    assert a.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_spike_fires_at_the_threshold_and_not_at_nan() -> None:
    u = torch.tensor([-1e-30, -0.0, 0.0, 1e-30, math.inf, -math.inf, math.nan])
    assert ops.spike(u, ATan()).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
