"""Latency code against its closed forms, an exact LIF, and SpikingJelly."""

import math

import pytest
import torch

from spikesim.encoders import Latency
from spikesim.errors import UserError
from spikesim.neurons.lif import LIF

X = torch.linspace(0, 1, 257, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 10, 33])
def test_linear_times_are_the_closed_form(steps: int) -> None:
    times = Latency(steps).times(X)
    assert times[0] == math.inf
    assert ((times[1:] - (1 - X[1:]) * (steps - 1)).abs() <= 0.5).all()
    spikes = Latency(steps)(X)
    assert spikes.sum(0).tolist() == [0.0] + [1.0] * 256
    assert torch.equal(spikes[:, 1:].argmax(0).to(X.dtype), times[1:])


@pytest.mark.parametrize(("form", "threshold"), [("linear", 0.25), ("rc", 0.25), ("rc", 0.01)])
def test_at_most_one_spike_and_none_up_to_the_threshold(form: str, threshold: float) -> None:
    spikes = Latency(40, form=form, threshold=threshold)(X)
    assert set(spikes.sum(0).tolist()) <= {0.0, 1.0}
    assert (spikes[:, threshold >= X] == 0).all()
    assert spikes[:, -1].sum() == 1


def test_larger_values_never_fire_later() -> None:
    for encoder in (Latency(40), Latency(40, form="rc", threshold=0.1, tau=8.0)):
        times = encoder.times(X).nan_to_num(posinf=1e9)
        assert (times.diff() <= 0).all()


def test_rc_time_by_hand() -> None:
    # 10 ln(0.5 / 0.4) = 2.23, 10 ln(0.2 / 0.1) = 6.93, 10 ln(0.11 / 0.01) = 23.98
    encoder = Latency(20, form="rc", threshold=0.1, tau=10.0)
    assert encoder.times(torch.tensor([0.5, 0.2, 0.11])).tolist() == [2.0, 6.0, math.inf]


@pytest.mark.parametrize("tau", [0.7, 5.0, 31.0])
def test_rc_fires_in_the_step_of_an_exact_lif(tau: float) -> None:
    x = torch.rand(500, dtype=torch.float64)
    lif = LIF(tau=tau, v_threshold=0.3, leak="exact")
    driven = lif(x.expand(50, 500))
    first = (driven.cumsum(0) == 1) & (driven == 1)
    assert torch.equal(Latency(50, form="rc", threshold=0.3, tau=tau)(x), first.to(x.dtype))


@pytest.mark.peers
def test_linear_equals_spikingjelly() -> None:
    encoding = pytest.importorskip(
        "spikingjelly.activation_based.encoding", reason="compares with SpikingJelly"
    )
    x = X[1:].float().view(16, 16)
    theirs = encoding.LatencyEncoder(25)
    assert torch.equal(Latency(25)(x), torch.stack([theirs(x) for _ in range(25)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "log"}, "form must be 'linear' or 'rc'"),
        ({"form": "rc"}, "threshold must lie in"),
        ({"threshold": 1.0}, "threshold must lie in"),
        ({"tau": 0.0}, "tau must be > 0 steps, got 0.0"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Latency(10, **arguments)
