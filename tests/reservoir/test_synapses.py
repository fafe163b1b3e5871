"""Double-exponential synapses and Izhikevich's neuron in physical units."""

import copy
import pickle

import numpy as np
import pytest
import torch

from spikesim.errors import UserError
from spikesim.neurons import IF, LIFDelta
from spikesim.neurons.izhikevich_2007 import Izhikevich2007
from spikesim.neurons.synaptic import synaptic
from spikesim.types import Named


@pytest.mark.parametrize(("rise", "fall"), [(2.0, 20.0), (0.5, 5.0), (20.0, 2.0)])
def test_the_answer_to_a_spike_has_the_integral_1(rise: float, fall: float) -> None:
    errors = []
    for dt in (0.04, 0.02):
        neuron = synaptic(LIFDelta(dt=dt), rise, fall)
        x = torch.zeros(round(300.0 / dt), 1, 1, dtype=torch.float64)
        given = {name: x.clone() for name in neuron.inputs}
        given["synaptic"][0] = 1.0
        errors.append(abs(float(neuron.trace(given)["i"].sum()) * dt - 1.0))
    assert errors[0] < 0.6 * 0.04 * (1 / rise + 1 / fall)  # O(dt): half a step of each decay
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.05)


def test_the_peak_is_that_of_the_difference_of_exponentials() -> None:
    neuron, dt = synaptic(LIFDelta(dt=0.01), 2.0, 20.0), 0.01
    x = torch.zeros(4000, 1, 1, dtype=torch.float64)
    given = {name: x.clone() for name in neuron.inputs}
    given["synaptic"][0] = 1.0
    i = neuron.trace(given)["i"].flatten().numpy()
    t = dt * np.arange(1, 4001)
    expected = (np.exp(-t / 20.0) - np.exp(-t / 2.0)) / 18.0
    assert np.abs(i - expected).max() < 0.01 * expected.max()
    assert t[i.argmax()] == pytest.approx(2 * 20 / 18 * np.log(10.0), abs=0.02)


def test_filtered_spikes_are_what_a_target_of_weight_1_receives() -> None:
    """Of a step: the current of before, then the filters of the spikes of the step."""
    torch.manual_seed(1)
    neuron = synaptic(LIFDelta(), 3.0, 8.0)
    current = 2000.0 * torch.rand(200, 1, 5, dtype=torch.float64)
    zero = torch.zeros_like(current)
    given = {**dict.fromkeys(neuron.inputs, zero), "current": current}
    spikes, r = (neuron.trace(given)[name] for name in ("output", "r"))
    assert spikes.sum() > 20
    # A spike of a step arrives in the next one.
    late = torch.cat([zero[:1], spikes[:-1]])
    received = neuron.trace({**given, "synaptic": late})["i"]
    assert torch.allclose(received, r, rtol=1e-12, atol=1e-15)
    # Written out, of one neuron.
    x = h = 0.0
    for t in range(200):
        x = x * np.exp(-1 / 3.0) + h
        h = h * np.exp(-1 / 8.0) + float(spikes[t, 0, 0]) / (3.0 * 8.0)
        assert float(r[t, 0, 0]) == pytest.approx(x, abs=1e-12)


def test_a_current_acts_a_step_after_it_changed() -> None:
    neuron = synaptic(LIFDelta(dt=0.1))
    x = torch.zeros(5, 1, 1, dtype=torch.float64)
    given = {name: x.clone() for name in neuron.inputs}
    given["synaptic"][0] = 5000.0
    traces = neuron.trace(given)
    v = traces["v"].flatten()
    assert v[0] == -70.0
    assert v[1] > -70.0
    alone = LIFDelta(dt=0.1)
    late = torch.cat([x[:1], traces["i"][:-1]])
    assert torch.equal(alone.trace({"delta": x, "current": late})["v"], traces["v"])


def test_what_cannot_have_such_synapses_is_refused() -> None:
    with pytest.raises(UserError, match="needs a neuron with an input 'current'"):
        synaptic(IF())
    with pytest.raises(UserError, match="needs a neuron with an input 'current'"):
        synaptic(synaptic(LIFDelta()))
    with pytest.raises(UserError, match=r"got <class 'spikesim.neurons.integrate_and_fire.IF"):
        synaptic(IF)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="tau_rise must be > 0"):
        synaptic(LIFDelta(), 0.0)


@pytest.mark.parametrize("b", [-2.0, 0.0, 3.0])
def test_the_rheobase_is_1000_pa_for_every_b(b: float) -> None:
    """Quasi-static: k x (x - 40 + b/k) - b x has its least at -400 k, 1000 pA of the bias."""
    k = 2.5
    cell = Izhikevich2007(250.0, k, -60.0, -20.0 - b / k, 0.1, b, -65.0, 200.0, v_peak=30.0, dt=0.5)
    ramp = torch.linspace(970.0, 1030.0, 60_000, dtype=torch.float64)[:, None, None]
    fired = cell(ramp).flatten().nonzero().flatten()
    assert len(fired)
    # The ramp passes rheobase a while before the slow upstroke ends: 1 pA is 500 ms.
    assert 1000.0 < float(ramp[fired[0], 0, 0]) < 1002.0


def test_u_follows_the_old_v_and_the_reset_ends_the_step() -> None:
    """Written out: C = 100, k = 0.7, a = 0.03, b = -2, dt = 0.5."""
    cell = Izhikevich2007(dt=0.5)
    like = torch.zeros(1, 1, dtype=torch.float64)
    state, p = cell.initial_state(like), cell.values(like)
    v, u, spikes = -60.0, 0.0, []
    for _ in range(60):
        x = torch.full((1, 1), 500.0, dtype=torch.float64)
        state, s = cell.step(state, Named(current=x), p)
        new = v + 0.5 / 100.0 * (0.7 * (v + 60.0) * (v + 40.0) - u + 500.0)
        u = u + 0.5 * 0.03 * (-2.0 * (v + 60.0) - u)
        fires = new >= 35.0
        v, u = (-50.0, u + 100.0) if fires else (new, u)
        assert bool(s) == fires
        assert float(state.v) == pytest.approx(v, abs=1e-9)
        assert float(state.u) == pytest.approx(u, abs=1e-9)
        spikes.append(fires)
    assert sum(spikes) > 1


def test_the_model_of_2003_is_one_of_these() -> None:
    root = (25.0 - 4 * 0.04 * 140.0) ** 0.5
    v_r, v_t = (-5.0 - root) / 0.08, (-5.0 + root) / 0.08
    b, current = 0.2, 10.0
    cell = Izhikevich2007(
        1.0, 0.04, v_r, v_t, 0.02, b, -65.0, 8.0, v_peak=30.0, i_e=-b * v_r, dt=0.1
    )
    v, u, count = v_r, b * v_r, 0
    for _ in range(5000):
        new = v + 0.1 * (0.04 * v * v + 5.0 * v + 140.0 - u + current)
        u += 0.1 * 0.02 * (b * v - u)
        v = new
        if v >= 30.0:
            v, u, count = -65.0, u + 8.0, count + 1
    spikes = cell(torch.full((5000, 1, 1), current, dtype=torch.float64))
    assert count > 5
    assert int(spikes.sum()) == count


def test_it_is_pickled_and_copied_as_any_neuron() -> None:
    neuron = synaptic(LIFDelta(tau_m=11.0), 3.0, learnable=("tau_decay",))
    x = {name: torch.full((50, 1, 2), 600.0) for name in neuron.inputs}
    for other in (pickle.loads(pickle.dumps(neuron)), copy.deepcopy(neuron)):
        assert type(other) is type(neuron)
        assert torch.equal(other.trace(x)["r"], neuron.trace(x)["r"])
        assert other.state_dict().keys() == neuron.state_dict().keys()
        assert repr(other) == repr(neuron)
