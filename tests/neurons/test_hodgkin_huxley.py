"""The squid axon: its spike counts, its rest and its gates."""

import math

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.neurons import HodgkinHuxley
from spikesim.neurons.squid import rates

AREA = {"c_m": 1.0, "g_na": 120.0, "g_k": 36.0, "g_l": 0.3}
"""Per square centimetre: uF and mS; currents are uA."""


def inputs(neuron: HodgkinHuxley, steps: int, current: Tensor) -> dict[str, Tensor]:
    x = {name: torch.zeros(steps, 1, len(current), dtype=current.dtype) for name in neuron.inputs}
    x["current"] += current
    return x


def test_steps_of_current_have_their_counts_of_spikes() -> None:
    """500 ms from rest, Runge-Kutta steps of 0.01 ms: 1, 2, 30, 35 and 44 spikes."""
    current = torch.tensor([5.0, 6.0, 7.0, 10.0, 20.0], dtype=torch.float64)
    axon = HodgkinHuxley(**AREA, scheme="rk4", dt=0.01)
    counts = axon(inputs(axon, 50_000, current)).sum(0).flatten().tolist()
    assert counts == [1, 2, 30, 35, 44]
    # A membrane of 10,000 um^2 in pF, nS and pA is the same axon.
    cell = HodgkinHuxley(scheme="rk4", dt=0.01)
    assert cell(inputs(cell, 50_000, 100.0 * current)).sum(0).flatten().tolist() == counts
    # The cheaper scheme is of first order.
    euler = HodgkinHuxley(**AREA, dt=0.01)
    other = euler(inputs(euler, 50_000, current)).sum(0).flatten().tolist()
    assert np.abs(np.array(other) - counts).max() <= 1


@pytest.mark.parametrize("v", [-100.0, -65.0, -55.0, -54.999999, -40.0, -40.0000001, 0.0, 50.0])
def test_rates_are_those_of_the_equations_and_finite_where_they_are_0_by_0(v: float) -> None:
    def ratio(x: mpmath.mpf) -> mpmath.mpf:
        return x / (1 - mpmath.exp(-x)) if x else mpmath.mpf(1)

    with mpmath.workdps(30):
        u = mpmath.mpf(v)
        expected = {
            "m": (ratio((u + 40) / 10), 4 * mpmath.exp(-(u + 65) / 18)),
            "h": (
                mpmath.mpf("0.07") * mpmath.exp(-(u + 65) / 20),
                1 / (1 + mpmath.exp(-(u + 35) / 10)),
            ),
            "n": (ratio((u + 55) / 10) / 10, mpmath.exp(-(u + 65) / 80) / 8),
        }
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        for gate, pair in rates(torch.tensor(v, dtype=dtype)).items():
            for found, value in zip(pair, expected[gate], strict=True):
                near = dtype == torch.float64 or v == round(v)
                if near:
                    assert found.item() == pytest.approx(float(value), rel=tolerance)


@pytest.mark.parametrize("scheme", ["exponential_euler", "rk4"])
def test_it_rests_where_its_currents_cancel_and_gates_stay_fractions(scheme: str) -> None:
    axon = HodgkinHuxley(scheme=scheme, dt=0.02)
    current = torch.tensor([0.0, 1500.0], dtype=torch.float64)
    rows = axon.trace(inputs(axon, 10_000, current))
    v = rows["v"][-1, 0, 0].item()

    def flow(v: float) -> float:
        m, h, n = (up / (up + down) for up, down in rates(v).values())
        sodium, potassium = 12000.0 * m**3 * h * (50.0 - v), 3600.0 * n**4 * (-77.0 - v)
        return sodium + potassium + 30.0 * (-54.387 - v)

    low, high = -66.0, -64.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if flow(middle) > 0 else (low, middle)
    assert v == pytest.approx(low, abs=1e-6)
    assert rows["output"][:, 0, 0].sum() == 0
    for gate in "mhn":
        assert 0 <= rows[gate].min() < rows[gate].max() <= 1
    # A spike is told once, where v comes from below.
    spikes, v_firing = rows["output"][:, 0, 1], rows["v"][:, 0, 1]
    before = torch.cat([v_firing.new_tensor([-65.0]), v_firing[:-1]])
    assert torch.equal(spikes.bool(), (before < 0.0) & (v_firing >= 0.0))
    assert spikes.sum() > 5


def test_a_refractory_period_hides_spikes_and_holds_nothing() -> None:
    current = torch.tensor([1000.0], dtype=torch.float64)
    plain, hiding = HodgkinHuxley(), HodgkinHuxley(t_ref=20.0)
    rows, hidden = (axon.trace(inputs(axon, 10_000, current)) for axon in (plain, hiding))
    assert torch.equal(rows["v"], hidden["v"])
    gap = rows["output"].flatten().nonzero().flatten().diff()[1:].double().mean() * 0.02
    assert 10.0 < gap < 20.0
    assert hidden["output"].sum() == math.ceil(rows["output"].sum() / 2)
