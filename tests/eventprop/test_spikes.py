"""Spikes as events."""

import math

import pytest
import torch

from spikesim.errors import UserError
from spikesim.eventprop import Spikes


def test_raster_and_back_keeps_every_spike() -> None:
    x = torch.poisson(torch.full((7, 3, 4), 0.5), generator=torch.Generator().manual_seed(0))
    spikes = Spikes.from_raster(x, dt=0.5)
    assert spikes.duration == 3.5
    assert torch.equal(spikes.raster(0.5)[:-1], x)
    assert torch.equal(spikes.counts(), x.sum(0).long())
    assert spikes.samples.unique().tolist() == [0, 1, 2]


def test_given_spikes_are_sorted_in_their_samples() -> None:
    spikes = Spikes.of([([3, 1], [0, 1]), ([], []), ([2], [2])], size=3, duration=4.0)
    assert spikes.times.tolist() == [1.0, 3.0, 2.0]
    assert spikes.neurons.tolist() == [1, 0, 2]
    assert spikes.offsets.tolist() == [0, 2, 2, 3]
    assert spikes.counts().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_samples_are_selected_in_any_order() -> None:
    given = [([1, 3], [1, 0]), ([], []), ([2], [2]), ([4, 5, 6], [0, 0, 1])]
    spikes = Spikes.of(given, size=3, duration=6.0)
    chosen = [3, 1, 0, 0]
    got = spikes.select(torch.tensor(chosen))
    expected = Spikes.of([given[n] for n in chosen], size=3, duration=6.0)
    for name in ("times", "neurons", "offsets"):
        assert torch.equal(getattr(got, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("times", "neurons", "offsets", "message"),
    [
        ([2.0, 1.0], [0, 0], [0, 2], "times must rise in each sample"),
        ([-1.0, 1.0], [0, 0], [0, 2], "times must be 0 to 5 ms, got -1 to 1"),
        ([1.0, 6.0], [0, 0], [0, 2], "got 1 to 6"),
        ([1.0, 2.0], [0, 2], [0, 2], "neurons must be 0 to 1, got 0 to 2"),
        ([1.0, 2.0], [0], [0, 2], r"torch.float64 \[2\], torch.int64 \[1\]"),
        ([1.0, 2.0], [0, 1], [0, 1], "offsets must rise from 0 to 2"),
        ([1.0, 2.0], [0, 1], [0, 2, 1, 2], "offsets must rise from 0 to 2"),
        ([1.0, 2.0], [0.0, 1.0], [0, 2], "neurons int64"),
    ],
)
def test_errors_name_the_value(
    times: list[float], neurons: list[int], offsets: list[int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Spikes(
            torch.tensor(times, dtype=torch.float64),
            torch.tensor(neurons),
            torch.tensor(offsets),
            2,
            5.0,
        )
    Spikes(
        torch.tensor([2.0, 1.0]).double(), torch.zeros(2).long(), torch.tensor([0, 1, 2]), 1, 5.0
    )


def test_what_is_given_is_checked_sample_by_sample() -> None:
    # As many times as neurons in all, but not in each.
    with pytest.raises(UserError, match="sample 0 has 2 times and 1 neurons"):
        Spikes.of([([1, 2], [0]), ([3], [1, 1])], size=2, duration=5.0)
    with pytest.raises(UserError, match="neurons of sample 1 are no whole numbers"):
        Spikes.of([([1], [0]), ([0, 1], [2.5, 3.5])], size=5, duration=5.0)
    with pytest.raises(UserError, match="whole numbers"):
        Spikes.from_raster(torch.full((3, 1, 2), 0.5), 1.0)
    for duration in (0.0, math.inf, math.nan):
        with pytest.raises(UserError, match=f"duration must be finite and > 0 ms, got {duration}"):
            Spikes.of([([], [])], size=1, duration=duration)
    assert Spikes.of([], size=2, duration=5.0).batch == 0
