import math

import pytest
import torch

from spikesim.neurons import ALIF


@pytest.mark.parametrize("normalize", [True, False])
def test_equals_the_published_recursion(normalize: bool) -> None:
    """LSNN in plain Python floats, with the tutorial's values, all in the unit of 1 ms."""
    tau, tau_a, theta, beta = 20.0, 200.0, 0.03, 1.6 if normalize else 0.01
    alpha, rho = math.exp(-1 / tau), math.exp(-1 / tau_a)
    drive = torch.rand(400, dtype=torch.float64) * 0.2
    v = a = z = 0.0
    spikes, thresholds = [], []
    for x in drive.tolist():
        v = alpha * v + (1 - alpha) * x - z * theta
        a = rho * a + ((1 - rho) * z if normalize else z)
        z = float(v >= theta + beta * a)
        spikes.append(z)
        thresholds.append(a)
    neuron = ALIF(tau, tau_a, theta, beta, normalize=normalize)
    rows = neuron.trace(drive.view(-1, 1, 1))
    assert sum(spikes) > 10
    assert rows["output"].flatten().tolist() == spikes
    assert rows["a"].flatten().tolist() == pytest.approx(thresholds, rel=1e-9)


def test_trace_computed_by_hand() -> None:
    neuron = ALIF(2.0, 2.0, 1.0, beta=4.0, leak="euler")
    rows = neuron.trace(torch.full((5, 1, 1), 4.0))
    # v: 2 | 1+2-1 | 1+2 | 1.5+2-1 | 1.25+2; threshold 1+4a: 1 3 2 3.5 2.25
    assert rows["v"].flatten().tolist() == [2.0, 2.0, 3.0, 2.5, 3.25]
    assert rows["a"].flatten().tolist() == [0.0, 0.5, 0.25, 0.625, 0.3125]
    assert rows["output"].flatten().tolist() == [1, 0, 1, 0, 1]


def test_adaptation_slows_the_firing() -> None:
    times = ALIF(v_threshold=0.03)(torch.full((1000, 1, 1), 0.2)).flatten().nonzero().flatten()
    gaps = times[1:] - times[:-1]
    assert gaps[-1] > gaps[0]
    assert ALIF(v_threshold=0.03, beta=0.0)(torch.full((1000, 1, 1), 0.2)).sum() > len(times)


def test_refractory_neuron_is_silent_while_its_membrane_goes_on() -> None:
    x = torch.full((8, 1, 1), 4.0)
    rows = ALIF(2.0, 2.0, beta=0.0, leak="euler", refractory=2.0).trace(x)
    assert rows["output"].flatten().tolist() == [1, 0, 0, 1, 0, 0, 1, 0]
    assert rows["v"].flatten().tolist()[:4] == [2.0, 2.0, 3.0, 3.5]


def test_detached_reset_keeps_the_gradient_of_the_adaptation() -> None:
    x = torch.tensor([3.0, 1.0], dtype=torch.float64).view(2, 1, 1)
    grads = []
    for beta, detach_reset in ((0.0, True), (4.0, True), (4.0, False)):
        x.requires_grad_()
        neuron = ALIF(2.0, 2.0, 1.0, beta, leak="euler", detach_reset=detach_reset)
        (grad,) = torch.autograd.grad(neuron(x)[1].sum(), x)
        grads.append(grad[0].item())
    assert len(set(grads)) == 3
