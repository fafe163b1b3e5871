import math

import pytest
import torch

from spikesim.neurons import CUBALIF, LIF


@pytest.mark.parametrize(("tau", "tau_synapse"), [(20.0, 5.0), (10.0, 2.0), (5.0, 8.0)])
def test_potential_of_one_spike_peaks_at_the_closed_form(tau: float, tau_synapse: float) -> None:
    dt = 0.02
    x = torch.zeros(1200, 1, 1, dtype=torch.float64)
    x[0] = 1.0
    neuron = CUBALIF(tau, tau_synapse, v_threshold=9.0, dt=dt)
    v = neuron.trace(x)["v"].flatten()
    peak = tau * tau_synapse / (tau - tau_synapse) * math.log(tau / tau_synapse)
    assert v.argmax().item() * dt == pytest.approx(peak, abs=2 * dt)


def test_current_decays_exponentially_and_the_membrane_follows() -> None:
    x = torch.zeros(40, 1, 1, dtype=torch.float64)
    x[0] = 2.0
    rows = CUBALIF(tau=20.0, tau_synapse=5.0, v_threshold=9.0).trace(x)
    t = torch.arange(40, dtype=torch.float64)
    assert torch.allclose(rows["i"].flatten(), 2.0 * torch.exp(-t / 5.0), rtol=1e-12)
    a, b = math.exp(-1 / 5.0), math.exp(-1 / 20.0)
    # Two geometric sequences convolved: sum over j <= n of b^(n-j) (1-b) 2 a^j.
    expected = 2 * (1 - b) * (a ** (t + 1) - b ** (t + 1)) / (a - b)
    assert torch.allclose(rows["v"].flatten(), expected, rtol=1e-12)


def test_trace_computed_by_hand() -> None:
    x = torch.tensor([2.0, 0.0, 1.0, 4.0, 0.0]).view(5, 1, 1)
    rows = CUBALIF(tau=2.0, tau_synapse=2.0, leak="euler").trace(x)
    assert rows["i"].flatten().tolist() == [2.0, 1.0, 1.5, 4.75, 2.375]
    assert rows["v"].flatten().tolist() == [0.0, 0.5, 0.0, 0.0, 0.0]
    assert rows["output"].flatten().tolist() == [1, 0, 1, 1, 1]


def test_an_instant_synapse_is_the_lif_neuron() -> None:
    x = torch.randn(30, 2, 9) * 3 + 1
    instant = CUBALIF(tau=4.0, tau_synapse=1.0, leak="euler")(x)
    assert torch.equal(instant, LIF(tau=4.0)(x))


def test_constant_input_below_threshold_never_fires() -> None:
    settled = 1.0 - math.exp(-1 / 5.0)  # the current settles at x divided by this
    below = CUBALIF()(torch.full((600, 1, 1), 0.999 * settled, dtype=torch.float64))
    above = CUBALIF()(torch.full((600, 1, 1), 1.001 * settled, dtype=torch.float64))
    assert below.sum() == 0
    assert above.sum() > 0


def test_current_goes_on_while_the_membrane_is_held() -> None:
    x = torch.tensor([4.0, 0.0, 0.0, 0.0]).view(4, 1, 1)
    rows = CUBALIF(tau=2.0, tau_synapse=2.0, leak="euler", refractory=2.0).trace(x)
    assert rows["i"].flatten().tolist() == [4.0, 2.0, 1.0, 0.5]
    assert rows["v"].flatten().tolist() == [0.0, 0.0, 0.0, 0.25]
    assert rows["output"].flatten().tolist() == [1, 0, 0, 0]
