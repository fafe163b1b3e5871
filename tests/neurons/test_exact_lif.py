"""Exactly integrated neurons against closed forms, computed with 40 digits."""

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.tape import trace
from spikesim.neurons import LIFAlpha, LIFDelta, LIFExp
from spikesim.neurons.linear_lif import LinearLIF
from spikesim.neurons.propagators import (
    decay,
    from_alpha,
    from_constant,
    from_exponential,
    loss,
    phi,
)
from spikesim.types import Named

mpmath.mp.dps = 40

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4}  # mV
STEPS = [0.1, 0.5, 1.0]  # ms
DURATION = 60.0  # ms
PASSIVE = {"e_l": 0.0, "v_threshold": 1e3, "v_reset": 0.0}
# (tau_m, tau_synapse), ms: slower, faster, equal, and too near for a difference of exponentials
TIMES = [(10.0, 2.0), (3.0, 7.0), (10.0, 10.0), (10.0, 10.0 * (1 + 1e-9)), (10.0, 10.001)]
C_M, WEIGHT = 250.0, 400.0


def psp(kind: type[LinearLIF], tau_m: float, tau_s: float, t: float) -> float:
    """mV, a time ``t`` after a spike, from the textbook."""
    a, b, t = 1 / mpmath.mpf(tau_m), 1 / mpmath.mpf(tau_s), mpmath.mpf(t)
    if kind is LIFDelta:
        return float(mpmath.exp(-t * a))
    equal, d = a == b, b - a
    if kind is LIFExp:
        value = t * mpmath.exp(-a * t) if equal else (mpmath.exp(-a * t) - mpmath.exp(-b * t)) / d
    else:
        value = t**2 / 2 * mpmath.exp(-a * t)
        if not equal:
            value = (mpmath.exp(-a * t) - mpmath.exp(-b * t) * (1 + d * t)) / d**2
        value *= mpmath.e * b
    return float(value * WEIGHT / mpmath.mpf(C_M))


def silent(steps: int, *shape: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    names = (*LIFExp.inputs, "delta")
    return {name: torch.zeros(steps, *(shape or (1, 1)), dtype=dtype) for name in names}


def given(neuron: LinearLIF, x: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x[name] for name in neuron.inputs}


def receptors(kind: type[LinearLIF]) -> tuple[str, ...]:
    return kind.inputs[:-1]


def passive(kind: type[LinearLIF], dt: float, tau_m: object, tau_s: object) -> LinearLIF:
    synapse = {} if kind is LIFDelta else {"tau_ex": tau_s, "tau_in": tau_s}
    return kind(tau_m=tau_m, c_m=C_M, dt=dt, **synapse, **PASSIVE)


KINDS = pytest.mark.parametrize("kind", [LIFDelta, LIFExp, LIFAlpha])


@KINDS
@pytest.mark.parametrize(("tau_m", "tau_s"), TIMES)
@pytest.mark.parametrize("dt", STEPS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_spike_gives_the_closed_form_at_every_step(
    kind: type[LinearLIF], tau_m: float, tau_s: float, dt: float, dtype: torch.dtype
) -> None:
    steps = round(DURATION / dt)
    weight = 1.0 if kind is LIFDelta else WEIGHT
    expected = torch.tensor(
        [psp(kind, tau_m, tau_s, n * dt) for n in range(steps)], dtype=torch.float64
    )
    assert expected.max() > 0.5
    for receptor in receptors(kind):
        for sign in (1.0, -1.0):
            x = silent(steps, dtype=dtype)
            x[receptor][0] = sign * weight
            neuron = passive(kind, dt, tau_m, tau_s)
            v = neuron.trace(given(neuron, x))["v"].flatten()
            assert v.dtype == dtype
            assert (v.double() - sign * expected).abs().max() <= TOLERANCE[dtype]


@KINDS
@pytest.mark.parametrize("dt", STEPS)
def test_float32_far_from_zero_stops_where_a_step_is_below_its_resolution(
    kind: type[LinearLIF], dt: float
) -> None:
    """At -70 mV 1e-4 mV hold from steps of 0.5 ms on; at 0.1 ms no arithmetic can hold them.

    There 1e-4 mV are 13 of the numbers to choose from, 2**-17 mV apart. While the potential falls
    from 100 of them to 26 above rest, 134 steps pass. None of these may end where another did, or
    all that follow would repeat, but only 100 + 2 * 13 + 1 numbers are near enough.
    """
    rest = {"e_l": -70.0, "v_reset": -70.0}
    found = {}
    for dtype in TOLERANCE:
        x = silent(round(150.0 / dt), dtype=dtype)
        x[receptors(kind)[0]][0] = 1.0 if kind is LIFDelta else WEIGHT
        neuron = kind(dt=dt, v_threshold=1e3, **rest)
        found[dtype] = neuron.trace(given(neuron, x))["v"].double()
    half_ulp = 2.0**-18  # of numbers from 64 to 128
    error = (found[torch.float32] - found[torch.float64]).abs().max().item()
    assert error <= 1.05 * half_ulp / loss(dt, 10.0)
    assert (error <= TOLERANCE[torch.float32]) == (dt >= 0.5)


@KINDS
def test_a_step_rounds_the_potential_once(kind: type[LinearLIF]) -> None:
    """However much is added: near -70 mV each addition rounds by up to half of 2**-17 mV."""
    neuron = kind(dt=0.1, v_threshold=1e3, t_ref=0.0)
    x = silent(400, 1, 20, dtype=torch.float32)
    for name in neuron.inputs:
        x[name] += (0.1 if name == "delta" else 8.0) * torch.randn_like(x[name])
    rows = {name: value[:, 0].double() for name, value in neuron.trace(given(neuron, x)).items()}
    # Each step anew in float64, from where float32 was before it.
    before = Named(**{name: rows[name][:-1] for name in neuron.states})
    inputs = {name: x[name][None, 1:, 0].double() for name in neuron.inputs}
    _, after = neuron.run(inputs, before)
    assert rows["v"].std() > 0.1
    assert ((rows["v"] < -64.0) & (rows["v"] > -128.0)).all()
    assert (rows["v"][1:] - after.v).abs().max() <= 1.1 * 2.0**-18


def test_arrays_of_numpy_keep_their_precision() -> None:
    tau = np.array([10.0, 12.1])
    neuron = LIFExp(tau_m=tau, t_ref=np.array([2, 0]))
    assert neuron.tau_m.dtype == torch.float64
    assert torch.equal(neuron.tau_m, torch.from_numpy(tau))
    assert "wait" in neuron.states
    x = silent(30, 1, 2)
    x["excitatory"][0] = WEIGHT
    v = neuron.trace(given(neuron, x))["v"]
    alone = LIFExp(tau_m=12.1, t_ref=0.0)
    one = {name: value[..., 1:] for name, value in given(alone, x).items()}
    assert (alone.trace(one)["v"] - v[..., 1:]).abs().max() <= TOLERANCE[torch.float64]


def test_one_current_of_both_signs_is_the_sum_of_two() -> None:
    generator = torch.Generator().manual_seed(7)
    x = silent(80, 2, 5)
    weights = 300.0 * torch.randn(80, 2, 5, generator=generator, dtype=torch.float64)
    x |= {"excitatory": weights.clamp(min=0.0), "inhibitory": weights.clamp(max=0.0)}
    neuron = LIFExp(tau_ex=3.0, tau_in=3.0, v_threshold=-68.0)
    two = neuron.trace(given(neuron, x))
    one = LIFExp(tau_ex=3.0, tau_in=None, v_threshold=-68.0).trace(
        {"synaptic": weights, "current": x["current"]}
    )
    assert torch.equal(two["output"], one["output"])
    assert 5 < int(one["output"].sum()) < 200
    for ours, other in ((one["v"], two["v"]), (one["i_syn"], two["i_ex"] + two["i_in"])):
        assert (ours - other).abs().max() < 1e-11


@KINDS
def test_steps_of_all_lengths_agree_at_common_times(kind: type[LinearLIF]) -> None:
    """Spikes at whole ms: the grid changes nothing but the number of points between."""
    generator = torch.Generator().manual_seed(3)
    weights = 100.0 * torch.randn(int(DURATION), 2, 5, generator=generator, dtype=torch.float64)
    found = []
    for dt in STEPS:
        each = round(1.0 / dt)
        x = silent(each * len(weights), 2, 5)
        for receptor in receptors(kind):
            x[receptor][each - 1 :: each] = weights
        x["current"] += 50.0
        neuron = passive(kind, dt, 10.0, 2.0)
        found.append(neuron.trace(given(neuron, x))["v"][each - 1 :: each])
    for other in found[1:]:
        assert (other - found[0]).abs().max() <= TOLERANCE[torch.float64]
    assert found[0].std() > 1.0


@KINDS
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_arrays_are_the_numbers_one_by_one(kind: type[LinearLIF], dtype: torch.dtype) -> None:
    tau_m, tau_s = torch.tensor(TIMES, dtype=dtype).T
    x = silent(60, 1, len(TIMES), dtype=dtype)
    for receptor in receptors(kind):
        x[receptor][0] = WEIGHT
    together = passive(kind, 0.5, tau_m, tau_s)
    v = together.trace(given(together, x))["v"]
    for n in range(len(TIMES)):
        alone = passive(kind, 0.5, tau_m[n].item(), tau_s[n].item())
        one = {name: value[..., n : n + 1] for name, value in given(alone, x).items()}
        assert (alone.trace(one)["v"] - v[..., n : n + 1]).abs().max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("function", [from_exponential, from_alpha])
@pytest.mark.parametrize(("tau_m", "tau_s"), [*TIMES, (10.0, 0.05), (0.05, 10.0), (1e4, 1e4)])
def test_propagators_to_the_last_digits(
    function: Callable[..., float], tau_m: float, tau_s: float
) -> None:
    a, b, h = 1 / mpmath.mpf(tau_m), 1 / mpmath.mpf(tau_s), mpmath.mpf(0.1)
    power = 1 if function is from_alpha else 0
    expected = mpmath.quad(lambda s: s**power * mpmath.exp(-(h - s) * a - s * b), [0, h])
    assert function(0.1, tau_m, tau_s, 1.0) == pytest.approx(float(expected), rel=4e-15)
    arrays = (torch.tensor([tau, 1.0]) for tau in (tau_m, tau_s))
    found = function(0.1, *arrays, 1.0)[0].item()
    assert found == pytest.approx(float(expected), rel=2e-6)


@pytest.mark.parametrize(("tau_m", "tau_s"), [(1e-4, 5.0), (5.0, 1e-4), (1e-3, 1e-4), (1e-9, 1.0)])
def test_times_far_below_a_step_overflow_nowhere(tau_m: float, tau_s: float) -> None:
    h, a, b = mpmath.mpf(0.1), 1 / mpmath.mpf(tau_m), 1 / mpmath.mpf(tau_s)
    with mpmath.workdps(60):
        decayed = mpmath.exp(-a * h)
        single = (mpmath.exp(-b * h) - decayed) / (a - b)
        double = (h * mpmath.exp(-b * h) - single) / (a - b)
    for function, expected in ((from_exponential, single), (from_alpha, double)):
        found = function(0.1, tau_m, tau_s, 1.0)
        assert found == pytest.approx(float(expected), rel=1e-13)
        narrow = function(0.1, torch.tensor(tau_m), torch.tensor(tau_s), 1.0)
        assert narrow.item() == pytest.approx(float(expected), rel=1e-5)


def test_a_long_time_constant_loses_no_digits() -> None:
    assert loss(0.1, 1e9) == pytest.approx(1e-10, rel=1e-9)
    assert loss(0.1, 10.0) == pytest.approx(-math.expm1(-0.01), rel=1e-15)
    assert from_constant(0.1, 1e9, 2.0) == pytest.approx(0.05, rel=1e-9)
    assert decay(0.1, 10.0) == math.exp(-0.01)


def test_phi_is_smooth_where_the_series_ends_and_where_two_times_meet() -> None:
    x = torch.tensor([-1.0, -1e-9, 0.0, 1e-9, 1.0], dtype=torch.float64)
    x = torch.cat([x - 1e-7, x, x + 1e-7]).requires_grad_()
    value, slope = phi(x)
    (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    assert (gradient - slope).abs().max() <= 1e-14
    (curvature,) = torch.autograd.grad(gradient.sum(), x)
    expected = [
        float(mpmath.quad(lambda s, at=at: s**2 * mpmath.exp(s * at), [0, 1])) for at in x.tolist()
    ]
    assert torch.allclose(curvature, torch.tensor(expected, dtype=torch.float64), rtol=1e-12)


def test_time_constants_that_meet_are_learnt() -> None:
    """The gradient of each at tau_m = tau_ex, by finite differences."""
    x = silent(30)
    x["excitatory"][3] = WEIGHT

    def area(kind: type[LinearLIF], tau_m: float, tau_ex: float) -> tuple[float, Tensor]:
        neuron = kind(
            tau_m=torch.tensor(tau_m, dtype=torch.float64),
            tau_ex=torch.tensor(tau_ex, dtype=torch.float64),
            learnable=("tau_m", "tau_ex"),
            detach_reset=True,  # a surrogate reaches down to the passive membrane
            **PASSIVE,
        )
        neuron.backend = "torch"
        total = neuron.trace(given(neuron, x))["v"].sum()
        total.backward()
        return total.item(), torch.stack([neuron.raw_tau_m.grad, neuron.raw_tau_ex.grad])

    for kind in (LIFExp, LIFAlpha):
        _, gradient = area(kind, 5.0, 5.0)
        up, down = math.exp(1e-5), math.exp(-1e-5)
        for n, scale in enumerate([(1, 0), (0, 1)]):
            high, low = (area(kind, *(5.0 * f**k for k in scale))[0] for f in (up, down))
            assert gradient[n].item() == pytest.approx((high - low) / 2e-5, rel=1e-7)


@KINDS
@pytest.mark.parametrize("current", [376.0, 400.0, 500.0, 900.0])
def test_constant_current_fires_at_the_closed_rate(kind: type[LinearLIF], current: float) -> None:
    """T = t_ref + tau ln((R I + E - v_reset) / (R I + E - theta)), rounded up to the step."""
    dt, drive = 0.1, current * 10.0 / 250.0
    neuron = kind(dt=dt, v_reset=-65.0)
    x = silent(20_000)
    x["current"] += current
    times = neuron(given(neuron, x)).flatten().nonzero().flatten()
    rise = 10.0 * math.log((drive - 5.0) / (drive - 15.0))
    assert times[1:].diff().unique().tolist() == [math.ceil(rise / dt) + 20]
    # The same current as a parameter.
    fixed = kind(dt=dt, v_reset=-65.0, i_e=current)
    assert torch.equal(fixed(given(fixed, silent(20_000))).flatten().nonzero().flatten(), times)


@KINDS
def test_no_current_below_the_rheobase_fires(kind: type[LinearLIF]) -> None:
    neuron = kind(dt=0.1, i_e=374.9)
    assert neuron(given(neuron, silent(10_000))).sum() == 0


@KINDS
def test_refractory_membrane_waits_and_currents_go_on(kind: type[LinearLIF]) -> None:
    neuron = kind(dt=0.5, t_ref=2.0)
    x = silent(12)
    receptor = receptors(kind)[0]
    x[receptor][0] = 30.0 if kind is LIFDelta else 8e3
    rows = {name: value.flatten() for name, value in neuron.trace(given(neuron, x)).items()}
    first = int(rows["output"].nonzero()[0])
    assert rows["v"][first : first + 5].tolist() == [-70.0] * 5
    assert rows["wait"][first : first + 6].tolist() == [4.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    if kind is not LIFDelta:
        assert rows["v"][first + 5] > -70.0
        quiet = passive(kind, 0.5, 10.0, 2.0)
        assert torch.equal(quiet.trace(given(quiet, x))["i_ex"].flatten(), rows["i_ex"])
    else:
        x["delta"][first + 2] = 30.0
        assert neuron(given(neuron, x)).sum() == 1


@KINDS
def test_without_a_refractory_period_there_is_no_count(kind: type[LinearLIF]) -> None:
    assert "wait" not in kind(t_ref=0.0).states
    assert "wait" in kind(t_ref=torch.tensor([0.0, 2.0])).states


@KINDS
def test_training_reaches_the_weights(kind: type[LinearLIF]) -> None:
    neuron = kind(t_ref=0.0)
    neuron.backend = "torch"
    x = {name: value.requires_grad_() for name, value in given(neuron, silent(20, 2, 3)).items()}
    neuron.trace(x)["v"][-1].sum().backward()
    for name in receptors(kind):
        assert (x[name].grad[:-2] > 0).all(), name
    assert len(trace(neuron).inputs) == len(kind.inputs)


@KINDS
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau_m": 0.0}, "tau_m must be > 0, got 0.0"),
        ({"c_m": -1.0}, "c_m must be > 0, got -1.0"),
        ({"t_ref": -1.0}, "t_ref must be >= 0, got -1.0"),
        ({"e_l": math.nan}, "e_l must be any finite number, got nan"),
        ({"learnable": ["t_ref"]}, "t_ref is counted in steps and cannot be learnable"),
        ({"dt": 0.0}, "dt must be > 0, got 0.0"),
    ],
)
def test_wrong_parameters_are_refused(
    kind: type[LinearLIF], wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        kind(**wrong)
