"""Sound to spectrograms and spikes: the published filters, and what an ear would do."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal

from spikesim.encoders import Cochlea, MelSpectrogram, mel_filters
from spikesim.errors import UserError

RATE = 8000
DECIBEL = 1e-3  # between two float32 transforms


def tone(frequency: float, seconds: float = 0.3, size: float = 0.1) -> torch.Tensor:
    t = torch.arange(round(seconds * RATE)) / RATE
    return size * torch.sin(2 * math.pi * frequency * t)[None]


# librosa 0.11.0: filters.mel(sr=8000, n_fft=256, htk=True, norm=None, fmin=50, ...): (band, bin),
# value; and the sum of all. Its import takes longer than this whole file.
LIBROSA_140 = {(10, 8): 0.800052787, (40, 25): 0.0, (60, 49): 0.0}
LIBROSA_23 = {
    (0, 3): 0.734046122,
    (7, 20): 0.432790455,
    (15, 61): 0.718830182,
    (22, 120): 0.722534458,
}
# and feature.melspectrogram(n_fft=256, hop_length=80, power=2) in decibels: (step, band), value
LIBROSA_DB = {
    (0, 5): 24.0809, (1, 12): -11.472, (37, 40): -8.1339, (50, 60): -47.4845, (99, 84): -4.5164,
    (100, 86): 3.0459, (60, 13): -43.1425,
}  # fmt: skip


@pytest.mark.parametrize(
    ("bands", "f_max", "some", "total"),
    [
        (140, 14000.0, LIBROSA_140, 126.78147135829427),
        (23, 4000.0, LIBROSA_23, 119.90468286003984),
    ],
)
def test_mel_filters_are_those_of_librosa(
    bands: int, f_max: float, some: dict[tuple[int, int], float], total: float
) -> None:
    filters = mel_filters(bands, 50.0, f_max, 256, RATE)
    assert filters.shape == (129, bands)
    for (band, number), value in some.items():
        assert float(filters[number, band]) == pytest.approx(value, abs=1e-8)
    assert float(filters.sum()) == pytest.approx(total, rel=1e-10)


def test_mel_spectrogram_is_that_of_librosa() -> None:
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    chirp = 0.5 * torch.sin(2 * math.pi * (100 * t + 1500 * t**2))
    x = chirp + 0.1 * torch.sin(2 * math.pi * 440 * t)
    ours = MelSpectrogram()(x[None].float())
    assert ours.shape == (101, 1, 140)
    for (step, band), value in LIBROSA_DB.items():
        assert float(ours[step, 0, band]) == pytest.approx(value, abs=DECIBEL)
    assert (ours[:, :, 87:] == -100).all()  # published so: bands above 4 kHz are empty


@pytest.mark.parametrize("order", [3, 4])
def test_filters_are_gammatones_of_scipy(order: int) -> None:
    cochlea = Cochlea(channels=9, order=order)
    for centre, ours in zip(cochlea.centres().tolist(), cochlea.filters(), strict=True):
        b, _ = signal.gammatone(centre, "fir", order=order, numtaps=len(ours), fs=RATE)
        scale = float(ours.norm()) / np.linalg.norm(b)
        np.testing.assert_allclose(ours, b * scale, atol=1e-6)
        gain = abs(signal.freqz(ours.numpy(), worN=[centre], fs=RATE)[1][0])
        assert gain == pytest.approx(1.0, abs=0.12)


def test_centres_are_evenly_spaced_in_bandwidths() -> None:
    centres = Cochlea(channels=20).centres().numpy()
    # Number of bandwidths below a frequency, Glasberg and Moore (1990), equation 4
    number = 21.4 * np.log10(4.37 * centres / 1000 + 1)
    np.testing.assert_allclose(np.diff(number), np.diff(number)[0], rtol=1e-9)
    assert centres[[0, -1]] == pytest.approx([100, 3600])


def test_a_tone_excites_its_place_and_a_louder_one_gives_the_same_spikes() -> None:
    cochlea = Cochlea(channels=30)
    for place in (3, 15, 27):
        x = tone(float(cochlea.centres()[place]))
        spikes = cochlea(x)
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
        assert abs(int(spikes.sum((0, 1)).argmax()) - place) <= 1
        assert torch.equal(spikes, cochlea(64 * x))  # a power of two: not even rounding differs
    assert cochlea(torch.zeros(1, 800)).sum() == 0


def test_low_tones_are_followed_cycle_by_cycle() -> None:
    spikes = Cochlea(channels=30)(tone(200.0, 0.5))[1600:, 0]
    times = spikes[:, spikes.sum(0).argmax()].nonzero().flatten() / RATE
    phase = torch.exp(2j * math.pi * 200.0 * times)
    assert len(times) > 30
    assert phase.mean().abs() > 0.9


def test_a_spike_has_its_refractory_time() -> None:
    cochlea = Cochlea(channels=10, gain=50.0, refractory_ms=3.0)
    spikes = cochlea(tone(1000.0))[:, 0]
    gaps = [torch.diff(column.nonzero().flatten()) for column in spikes.T]
    assert min(int(gap.min()) for gap in gaps if len(gap)) > 3.0 * RATE / 1000


def test_sounds_of_a_batch_do_not_meet() -> None:
    cochlea = Cochlea(channels=12)
    x = torch.cat([tone(500.0), tone(2000.0)])
    assert torch.equal(cochlea(x)[:, 1:], cochlea(x[1:]))
    # What comes later changes nothing before it but the loudness that all is measured by.
    later = torch.cat([x, x.flip(0)], 1)
    linear = Cochlea(channels=12, exponent=1.0)
    torch.testing.assert_close(linear.drive(later)[:2400], linear.drive(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("kind", "wrong", "named"),
    [
        (Cochlea, {"f_max": 4000.0}, "4000 Hz"),
        (Cochlea, {"exponent": 1.5}, "exponent"),
        (Cochlea, {"channels": 0}, "channels"),
        (Cochlea, {"refractory_ms": -1.0}, "refractory_ms"),
        (MelSpectrogram, {"f_min": 9e4}, "f_min"),
        (MelSpectrogram, {"hop": 0}, "hop"),
        (MelSpectrogram, {"f_max": math.inf}, "f_max"),
    ],
)
def test_parameters_out_of_range_are_named(kind: Any, wrong: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=named):
        kind(**wrong)
    for sound in (
        torch.zeros(5, dtype=torch.int16),
        torch.zeros(1, 800).half(),
        torch.zeros(0, 800),
        torch.zeros(2, 1, 800),
        torch.full((1, 800), math.nan),
    ):
        with pytest.raises(UserError):
            kind()(sound)
