"""Population code: Bohte's Gaussians, by hand and against SpikingJelly."""

import math

import pytest
import torch

from spikesim.encoders import Population
from spikesim.errors import UserError


def test_centres_and_width_are_bohtes() -> None:
    # range [-1, 3], M = 6: centres -1.5, -0.5, ..., 3.5; sigma = 4 / (1.5 * 4)
    encoder = Population(10, neurons=6, low=-1.0, high=3.0)
    centres = torch.arange(6, dtype=torch.float64) - 1.5
    inside = centres[1:5]
    assert torch.equal(encoder.responses(inside).argmax(1), torch.arange(1, 5))
    assert torch.equal(encoder.responses(inside).max(1).values, torch.ones(4).double())
    x = torch.linspace(-1, 3, 50, dtype=torch.float64)
    expected = [[math.exp(-((v - c) ** 2) / (2 * (2 / 3) ** 2)) for c in centres] for v in x]
    torch.testing.assert_close(encoder.responses(x), torch.tensor(expected, dtype=torch.float64))


def test_spike_times_and_cutoff() -> None:
    encoder = Population(20, neurons=8, cutoff=0.1)
    x = torch.rand(200, 3)
    r, spikes = encoder.responses(x), encoder(x)
    assert torch.equal(spikes.sum(0), (r >= 0.1).float())
    fired = spikes.sum(0) == 1
    times = spikes.argmax(0)[fired]
    assert torch.equal(times, ((1 - r[fired]) * 20).long())
    assert times.max() <= 18  # r >= 0.1


def test_every_value_is_seen_and_mirrored_values_give_mirrored_spikes() -> None:
    x = torch.arange(65) / 64
    spikes = Population(10, neurons=7)(x)
    assert (spikes.sum((0, 2)) >= 2).all()
    assert torch.equal(spikes.flip(2), Population(10, neurons=7)(1 - x))


@pytest.mark.peers
def test_equals_spikingjelly() -> None:
    theirs = pytest.importorskip(
        "spikingjelly.timing_based.encoding", reason="compares with SpikingJelly"
    ).GaussianTuning(1, 9, torch.tensor([-2.0]), torch.tensor([2.0]))
    x = torch.linspace(-2, 2, 101)
    times, index, _ = theirs(x.view(1, 1, -1), duration=1.0)
    response = torch.zeros(101 * 9)
    response[index] = 1.0 - times
    ours = Population(10, neurons=9, low=-2.0, high=2.0).responses(x)
    torch.testing.assert_close(ours, response.view(101, 9), atol=1e-6, rtol=0)


def test_own_range_is_enforced() -> None:
    with pytest.raises(UserError, match=r"x must lie in \[-1, 3\], got values from -1.5 to 0"):
        Population(10, low=-1.0, high=3.0)(torch.tensor([-1.5, 0.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neurons": 2}, "neurons must be >= 3, got 2"),
        ({"low": 1.0}, "low must be < high"),
        ({"gamma": 0.0}, "gamma must be > 0"),
        ({"cutoff": 0.0}, "cutoff must lie in"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Population(10, **arguments)
