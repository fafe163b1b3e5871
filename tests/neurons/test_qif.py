"""The quadratic neuron against its closed solutions."""

import math

import pytest
import torch
from torch import Tensor

from spikesim.neurons import QIF


def inputs(
    steps: int, current: float = 0.0, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    zero = torch.zeros(steps, 1, 1, dtype=dtype)
    return {"delta": zero.clone(), "current": zero + current}


@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("current", [0.01, 0.5, 2.0, 30.0])
def test_period_is_pi_tau_over_the_root_of_the_current(dt: float, current: float) -> None:
    """Not on average alone: each spike lies in the step in which v passes infinity."""
    steps = round(3000.0 / dt)
    neuron = QIF(tau=10.0, i_e=0.0, v_initial=0.0, dt=dt)
    ends = (neuron(inputs(steps, current)).flatten().nonzero().flatten() + 1).double() * dt
    period = math.pi * 10.0 / math.sqrt(current)
    passes = period * (torch.arange(len(ends), dtype=torch.float64) + 0.5)
    assert len(ends) == math.floor(3000.0 / period + 0.5)
    assert ((ends - passes) >= -1e-6).all()
    assert ((ends - passes) <= dt + 1e-6).all()


@pytest.mark.parametrize("current", [4.0, -4.0, 0.0])
def test_membrane_is_the_closed_solution(current: float) -> None:
    neuron = QIF(tau=10.0, i_e=0.0, v_initial=-1.0, dt=0.5)
    v = neuron.trace(inputs(200, current))["v"].flatten()
    t = 0.05 * torch.arange(1, 201, dtype=torch.float64)
    if current > 0:
        expected = 2.0 * torch.tan(2.0 * t + math.atan(-0.5))
    elif current < 0:
        expected = -2.0 * torch.tanh(2.0 * t + math.atanh(0.5))
    else:
        expected = -1.0 / (1.0 + t)
    assert torch.allclose(v, expected, rtol=1e-9, atol=1e-11)


def test_steps_of_all_lengths_agree_at_common_times() -> None:
    draw = torch.Generator().manual_seed(4)
    jumps = 1.5 * torch.randn(100, generator=draw, dtype=torch.float64)
    found = []
    for dt in (0.1, 0.5, 1.0):
        each = round(1.0 / dt)
        x = inputs(100 * each)
        x["delta"][each - 1 :: each, 0, 0] = jumps
        rows = QIF(dt=dt).trace(x)
        found.append((rows["v"][each - 1 :: each], rows["output"].sum()))
    for v, count in found[1:]:
        assert torch.allclose(v, found[0][0], rtol=1e-8, atol=1e-10)
        assert count == found[0][1] > 3


def test_it_rests_below_its_threshold_and_a_jump_above_it_fires() -> None:
    neuron = QIF(i_e=-4.0, v_initial=-2.0)
    x = inputs(400)
    assert neuron(x).sum() == 0
    assert neuron.trace(x)["v"][-1].item() == pytest.approx(-2.0)
    x["delta"][10] = 3.9
    assert neuron(x).sum() == 0
    x["delta"][10] = 4.1
    assert neuron(x).sum() == 1


def test_infinity_itself_is_passed() -> None:
    """From 1 without input v is 1 / (1 - t / tau), infinite after the first step of ``tau``."""
    neuron = QIF(tau=1.0, i_e=0.0, v_initial=1.0, dt=1.0)
    for dtype in (torch.float32, torch.float64):
        rows = neuron.trace(inputs(6, dtype=dtype))
        assert rows["output"].flatten().tolist() == [1.0] + [0.0] * 5
        assert rows["v"].flatten()[0] < -1e29
        expected = [1.0 / (1.0 - t) for t in range(2, 7)]
        assert rows["v"].flatten()[1:].tolist() == pytest.approx(expected, rel=1e-6)
