"""Burst code against its two formulas."""

import math

import pytest
import torch

from spikesim.encoders import Burst
from spikesim.errors import UserError


@pytest.mark.parametrize("n_max", [1, 5, 8])
@pytest.mark.parametrize("isi", [(1, 1), (2, 6), (3, 12)])
def test_number_and_interval_are_the_closed_forms(n_max: int, isi: tuple[int, int]) -> None:
    low, high = isi
    # sixty-fourths: exact in binary, so that a ceiling has no rounding to hide behind
    x = torch.arange(65) / 64
    spikes = Burst(100, n_max=n_max, isi_min=low, isi_max=high)(x)
    for k in range(65):
        times = spikes[:, k].nonzero().flatten()
        assert len(times) == -(-n_max * k // 64)
        interval = -(-(high - low) * (64 - k) // 64) + low
        assert times.tolist() == [j * interval for j in range(len(times))]


def test_published_defaults_by_hand() -> None:
    # x = 0.5, T = 20: n = 3, ISI = ceil(18 / 2 + 2) = 11: the third, at 22, is lost
    assert Burst(20)(torch.tensor([0.5])).flatten().nonzero().flatten().tolist() == [0, 11]


def test_recommended_isi_max_keeps_every_spike() -> None:
    x = torch.rand(300)
    spikes = Burst(33, n_max=5, isi_max=(33 - 1) // (5 - 1))(x)
    assert spikes.sum(0).tolist() == [math.ceil(5 * v) for v in x.tolist()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_max": 0}, "n_max must be >= 1, got 0"),
        ({"isi_min": 0}, "isi_min must lie between 1 and isi_max = 10 steps, got 0"),
        ({"isi_min": 4, "isi_max": 3}, "isi_max = 3 steps, got 4"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Burst(10, **arguments)
