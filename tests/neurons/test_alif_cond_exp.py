"""The threshold that rises with its neuron's spikes, against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from spikesim.neurons import ALIFCondExp, LIFCondExp

MEMBRANE = {"c_m": 100.0, "g_l": 1.0, "e_l": -65.0, "v_reset": -65.0, "dt": 0.1}
SYNAPSES = {"tau_ex": 1.0, "tau_in": 2.0, "e_in": -100.0}


def inputs(current: float, steps: int, count: int = 1) -> dict[str, Tensor]:
    x = torch.full((steps, 1, count), current, dtype=torch.float64)
    return {"excitatory": 0.0 * x, "inhibitory": 0.0 * x, "current": x}


def test_spikes_come_when_the_membrane_meets_the_risen_threshold() -> None:
    """Under a constant current the membrane and the threshold between spikes are exponentials."""
    plus, tau, t_ref, drive = 1.5, 300.0, 5.0, 20.0
    neuron = ALIFCondExp(
        v_threshold=-60.0, theta_plus=plus, tau_theta=tau, t_ref=t_ref, **MEMBRANE, **SYNAPSES
    )
    steps = 12_000
    times = 0.1 * (1 + neuron(inputs(drive, steps)).flatten().nonzero().flatten())
    # From a reset on, time moves in small steps to where both curves meet.
    expected, theta, now, wait = [], 0.0, 0.0, 0.0
    while now < 0.1 * steps:
        t = wait
        while drive * (1 - math.exp(-(t - wait) / 100.0)) < 5.0 + theta * math.exp(-t / tau):
            t += 0.001
        now, theta, wait = now + t, theta * math.exp(-t / tau) + plus, t_ref
        expected.append(now)
    expected = expected[: len(times)]
    assert len(times) == len(expected) > 8
    # Each spike waits for the end of its step: 0.05 ms on average, which add up.
    late = times - torch.tensor(expected)
    assert late.min() > -0.1
    assert late.max() < 0.1 * len(times)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_rise_it_is_the_neuron_of_a_fixed_threshold(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = {name: value.to(dtype) for name, value in inputs(3.0, 400, 50).items()}
    x["excitatory"] = 2.0 * torch.rand(400, 1, 50, dtype=dtype)
    x["inhibitory"] = torch.rand(400, 1, 50, dtype=dtype)
    both = (
        ALIFCondExp(v_threshold=-60.0, theta_plus=0.0, **MEMBRANE, **SYNAPSES),
        LIFCondExp(v_threshold=-60.0, **MEMBRANE, **SYNAPSES),
    )
    adaptive, fixed = (neuron(x) for neuron in both)
    assert 100 < fixed.sum() < 4000
    assert torch.equal(adaptive, fixed)


def test_theta_is_the_sum_of_what_spikes_left() -> None:
    neuron = ALIFCondExp(v_threshold=-60.0, theta_plus=0.05, tau_theta=200.0, **MEMBRANE)
    rows = neuron.trace(inputs(20.0, 3000))
    spikes, theta = rows["output"].flatten(), rows["theta"].flatten()
    at = 0.1 * torch.arange(3000, dtype=torch.float64)
    gone = at[:, None] - at[spikes > 0]
    expected = torch.where(gone >= 0, 0.05 * torch.exp(-gone / 200.0), 0.0).sum(1)
    assert spikes.sum() > 5
    torch.testing.assert_close(theta, expected, rtol=1e-12, atol=1e-13)
