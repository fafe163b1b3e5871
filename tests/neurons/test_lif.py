"""LIF, PLIF and IF: hand-computed traces, closed forms and invariants."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikesim.neurons import IF, LI, LIF, PLIF
from spikesim.surrogate import ATan, Triangle

# Values in eighths and a leak of 1/2: every number below is exact.
X = [1.0, 1.0, 1.5, 0.0, 2.0, -1.0]
TRACES = {
    "hard": (LIF(), [0.5, 0.75, 0.0, 0.0, 0.0, -0.5], [0, 0, 1, 0, 1, 0]),
    "soft": (LIF(v_reset=None), [0.5, 0.75, 0.125, 0.0625, 0.03125, -0.484375], [0, 0, 1, 0, 1, 0]),
    "reset -0.5": (
        LIF(v_reset=-0.5, decay_input=False),
        [0.5, -0.5, -0.5, -0.5, -0.5, -1.5],
        [0, 1, 1, 0, 1, 0],
    ),
    "input not decayed": (LIF(decay_input=False), [0, 0, 0, 0.0, 0.0, -1.0], [1, 1, 1, 0, 1, 0]),
    "IF": (IF(v_reset=None), [0.0, 0.0, 0.5, 0.5, 1.5, 0.5], [1, 1, 1, 0, 1, 0]),
    "LI": (LI(), [0.5, 0.75, 1.125, 0.5625, 1.28125, 0.140625], None),
}


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)


@pytest.mark.parametrize("name", TRACES)
def test_trace_computed_by_hand(name: str) -> None:
    neuron, v, spikes = TRACES[name]
    rows = neuron.trace(_column(X))
    assert rows["v"].flatten().tolist() == v
    assert rows["output"].flatten().tolist() == (v if spikes is None else spikes)


def test_defaults_are_those_that_users_know() -> None:
    neuron = LIF()
    assert (neuron.tau, neuron.v_threshold, neuron.v_reset) == (2.0, 1.0, 0.0)
    assert (neuron.decay_input, neuron.detach_reset, neuron.leak) == (True, False, "euler")
    assert neuron.surrogate == ATan(alpha=2.0)
    assert neuron.states == ("v",)


def test_exact_leak_follows_the_exponential() -> None:
    v = LIF(tau=20.0, v_threshold=9.0, leak="exact", dt=0.5).trace(torch.ones(80, 1, 1).double())
    t = torch.arange(1, 81, dtype=torch.float64) * 0.5
    assert torch.allclose(v["v"].flatten(), 1 - torch.exp(-t / 20.0), rtol=1e-13)


def test_a_large_time_constant_is_the_perfect_integrator() -> None:
    x = torch.randn(30, 2, 9) + 0.3
    assert torch.equal(LIF(tau=math.inf, decay_input=False)(x), IF()(x))


def test_silent_state_is_the_resting_value() -> None:
    neuron = LIF(v_reset=-0.7)
    _, state = neuron.run(torch.zeros(5, 1, 3))
    assert torch.equal(state.v, torch.full((1, 3), -0.7))


@settings(deadline=None, max_examples=20)
@given(
    tau=st.floats(1.0, 20.0),
    drive=st.floats(1.2, 8.0),
    v_reset=st.floats(-2.0, 0.5),
    refractory=st.sampled_from([0.0, 0.5, 3.0]),
)
def test_firing_period_is_the_closed_form(
    tau: float, drive: float, v_reset: float, refractory: float
) -> None:
    """T = t_ref + tau ln((R I + v_r - v_reset) / (R I + v_r - theta)), here v_r = v_reset."""
    dt = 0.1
    neuron = LIF(tau=tau, v_reset=v_reset, leak="exact", refractory=refractory, dt=dt)
    drive += 1.0 - v_reset  # above the threshold, seen from rest
    period = refractory + tau * math.log(drive / (drive + v_reset - 1.0))
    x = torch.full((2 + int(4 * period / dt) + 1, 1, 1), drive, dtype=torch.float64)
    times = neuron(x).flatten().nonzero().flatten() * dt
    assert len(times) >= 3
    gaps = times[1:] - times[:-1]
    assert ((gaps >= period - 1e-9) & (gaps < period + dt + 1e-9)).all()


def test_refractory_neuron_waits_and_holds() -> None:
    rows = IF(refractory=2.0).trace(_column([1.0, 5.0, 5.0, 0.5, 0.5, 1.0, 1.0]))
    assert rows["output"].flatten().tolist() == [1, 0, 0, 0, 1, 0, 0]
    assert rows["v"].flatten().tolist() == [0, 0, 0, 0.5, 0, 0, 0]
    assert rows["wait"].flatten().tolist() == [2, 1, 0, 0, 2, 1, 0]


def test_refractory_time_is_in_the_unit_of_dt_and_may_differ_per_neuron() -> None:
    x = torch.full((12, 1, 3), 1.0)
    spikes = IF(refractory=torch.tensor([0.0, 0.5, 1.0]), dt=0.5)(x)
    assert spikes.sum(0).flatten().tolist() == [12.0, 6.0, 4.0]


def test_refractory_time_is_a_whole_number_of_steps_in_spite_of_rounding() -> None:
    assert 2.1 / 0.3 > 7  # unrounded, the neuron would wait for an eighth step
    spikes = IF(refractory=2.1, dt=0.3)(torch.ones(17, 1, 1, dtype=torch.float64))
    assert spikes.flatten().nonzero().flatten().tolist() == [0, 8, 16]


def test_soft_reset_neuron_that_is_still_above_threshold_waits_too() -> None:
    spikes = IF(v_reset=None, refractory=1.0)(_column([3.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert spikes.flatten().tolist() == [1, 0, 1, 0, 1, 0]


def test_refractory_neuron_passes_no_gradient_from_ignored_input() -> None:
    x = _column([1.5, 0.3, 0.2, 0.4]).requires_grad_()
    IF(refractory=2.0)(x)[:3].sum().backward()
    assert x.grad[0].abs() > 0
    assert torch.count_nonzero(x.grad[1:]) == 0


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, None, -0.25])
def test_gradient_is_the_closed_form(
    decay_input: bool, detach_reset: bool, v_reset: float | None
) -> None:
    """Two steps by the chain rule, with the surrogate's closed form g."""
    tau, theta = 4.0, 1.0
    k = 1.0 / tau
    neuron = LIF(
        tau, theta, v_reset, decay_input=decay_input, detach_reset=detach_reset, surrogate=ATan()
    )
    x = torch.randn(2, 1, 40, dtype=torch.float64) * 3 + 2
    x.requires_grad_()
    rest = v_reset or 0.0

    def charge(v: Tensor, x: Tensor) -> Tensor:
        return v - k * (v - rest) + (k if decay_input else 1.0) * x

    u1 = charge(torch.full((1, 40), rest, dtype=torch.float64), x[0])
    s1 = (u1 >= theta).double()
    v1 = u1 - theta * s1 if v_reset is None else (1 - s1) * u1 + s1 * v_reset
    u2 = charge(v1, x[1])
    g1, g2 = (ATan().derivative(u.detach() - theta) for u in (u1, u2))
    through_reset = -theta if v_reset is None else v_reset - u1
    kept = 1.0 if v_reset is None else 1 - s1
    dv1_du1 = kept + (0.0 if detach_reset else through_reset * g1)
    gain = k if decay_input else 1.0
    expected = torch.stack([gain * (g1 + (1 - k) * dv1_du1 * g2), gain * g2]).detach()
    neuron(x).sum().backward()
    assert torch.allclose(x.grad, expected, rtol=1e-12, atol=1e-14)


def test_plif_learns_one_shared_w() -> None:
    neuron = PLIF(tau=5.0)
    assert dict(neuron.named_parameters()).keys() == {"raw_tau"}
    assert neuron.raw_tau.shape == ()
    assert neuron.raw_tau.item() == pytest.approx(-math.log(5.0 - 1.0), rel=1e-6)
    assert neuron.tau.item() == pytest.approx(5.0, rel=1e-6)
    x = torch.randn(8, 2, 5) + 0.5
    neuron(x).sum().backward()
    assert neuron.raw_tau.grad.abs() > 0
    assert torch.equal(PLIF(tau=2.0)(x), LIF(tau=2.0)(x))


def test_plif_gradient_is_the_chain_rule_of_its_sigmoid() -> None:
    x = torch.tensor(3.0, dtype=torch.float64)
    neuron = PLIF(tau=4.0).double()
    neuron(x.view(1, 1, 1)).backward()
    k = torch.sigmoid(neuron.raw_tau.detach())
    expected = ATan().derivative(k * x - 1.0) * x * k * (1 - k)
    assert neuron.raw_tau.grad.item() == pytest.approx(expected.item(), rel=1e-9)


def test_plif_takes_one_w_per_channel_and_other_learnable_names() -> None:
    neuron = PLIF(tau=torch.tensor([2.0, 3.0]), learnable=("v_threshold", "tau"))
    assert {n: p.shape for n, p in neuron.named_parameters()} == {
        "raw_tau": (2,),
        "raw_v_threshold": (),
    }


FAMILY = st.sampled_from(
    [LIF(tau=5.0), LIF(tau=5.0, v_reset=None), LIF(tau=3.0, leak="exact"), PLIF(tau=1.5)]
)


@settings(deadline=None, max_examples=20)
@given(neuron=FAMILY, x=st.floats(-5.0, 0.9999))
def test_constant_input_below_threshold_never_fires(neuron: LIF, x: float) -> None:
    assert neuron(torch.full((100, 1, 1), x)).sum() == 0


@settings(deadline=None, max_examples=20)
@given(neuron=FAMILY, scale=st.floats(0.1, 100.0), seed=st.integers(0, 2**31))
def test_spikes_are_zero_or_one_and_hard_reset_bounds_the_membrane(
    neuron: LIF, scale: float, seed: int
) -> None:
    x = torch.randn(20, 2, 5, generator=torch.Generator().manual_seed(seed)) * scale
    rows = neuron.trace(x)
    s = rows["output"]
    assert ((s == 0) | (s == 1)).all()
    if neuron.v_reset is not None:
        assert (rows["v"] < 1.0).all()
        assert (rows["v"][s.bool()] == 0.0).all()


@settings(deadline=None, max_examples=30)
@given(x=st.floats(0.0, 1.0), T=st.integers(1, 60))
def test_soft_reset_if_counts_its_input(x: float, T: int) -> None:
    """The sum of a constant input in [0, 1] is the number of spikes plus the membrane left."""
    spikes, state = IF(v_reset=None).run(torch.full((T, 1, 1), x, dtype=torch.float64))
    total = spikes.sum().item() + state.v.item()
    assert total == pytest.approx(x * T, abs=1e-9)
    assert abs(spikes.sum().item() - x * T) <= 1.0 + 1e-9


def test_surrogate_is_the_users() -> None:
    x = torch.full((1, 1, 1), 9.0, requires_grad=True)
    LIF(surrogate=Triangle(width=0.5))(x).backward()
    assert x.grad.item() == 0.0  # far outside the triangle
