"""Weights of a resistive array, and the random liquid on it."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from spikesim.datasets import load
from spikesim.errors import UserError
from spikesim.liquid.random_liquid import RandomLiquid, central
from spikesim.liquid.readout import Score, fit_readout
from spikesim.liquid.resistive import ResistiveArray, ResistiveLinear

SIGMAS = 4.0


def test_differential_pairs_are_normal_with_the_deviation_of_two_devices() -> None:
    array = ResistiveArray(std=0.3, mean=50.0, deviation=6.0)
    assert array.gain == pytest.approx(0.3 / (2**0.5 * 6.0))
    devices = array.program(400, 300, seed=1)
    count = devices[0].numel()
    for one in devices:
        assert one.mean().item() == pytest.approx(50.0, abs=SIGMAS * 6.0 / count**0.5)
        assert one.std().item() == pytest.approx(6.0, rel=SIGMAS / (2 * count) ** 0.5)
    w = ResistiveLinear(300, 400, array, seed=1).weight.double()
    torch.testing.assert_close(w.float(), array.gain * (devices[0] - devices[1]))
    assert w.mean().item() == pytest.approx(0.0, abs=SIGMAS * 0.3 / count**0.5)
    assert w.std().item() == pytest.approx(0.3, rel=SIGMAS / (2 * count) ** 0.5)
    kurtosis = (w - w.mean()).pow(4).mean() / w.var().square()
    assert kurtosis.item() == pytest.approx(3.0, abs=SIGMAS * (24 / count) ** 0.5)


@pytest.mark.parametrize("noise_of", ["weight", "device"])
def test_reads_are_as_noisy_as_if_each_device_were_read(noise_of: str) -> None:
    """Mean and deviation of many reads against as many of noisy devices, one by one."""
    array = ResistiveArray(0.5, read_noise=0.2, noise_of=noise_of)  # type: ignore[arg-type]
    layer = ResistiveLinear(30, 4, array, seed=2)
    x = torch.rand(30, generator=torch.Generator().manual_seed(0))
    reads = 4000
    found = layer(x.expand(reads, 30))
    random = torch.Generator().manual_seed(1)
    noise = 1.0 + 0.2 * torch.randn(2, reads, 4, 30, generator=random)
    if noise_of == "weight":
        expected = (layer.weight * noise[0] * x).sum(-1)
    else:
        plus, minus = array.program(4, 30, seed=2)
        expected = (array.gain * (plus * noise[0] - minus * noise[1]) * x).sum(-1)
    spread = expected.std(0)
    torch.testing.assert_close(
        found.mean(0), expected.mean(0), atol=float(spread.max()) * SIGMAS * (2 / reads) ** 0.5,
        rtol=0.0,
    )  # fmt: skip
    torch.testing.assert_close(found.std(0), spread, atol=0.0, rtol=SIGMAS / reads**0.5)
    assert (found[0] != found[1]).all()


def test_a_constant_input_settles_below_the_threshold_or_fires() -> None:
    """u -> I / (1 - d): below d's threshold it never fires, above it does."""
    decay, threshold = 0.9, 5.0
    for current, fires in ((threshold * (1 - decay) * 0.999, False), (0.6, True)):
        liquid = RandomLiquid(
            1, ResistiveArray(0.0), neurons=1, decay=decay, threshold=threshold
        ).double()
        liquid.feed.weight.fill_(current)
        spikes = liquid.spikes(torch.ones(300, 1, 1, dtype=torch.float64))
        assert bool(spikes.any()) == fires
        if not fires:
            drive = torch.full((300, 1, 1), current, dtype=torch.float64)
            u = liquid.cells.neuron.trace(drive)["v"]
            assert u[-1].item() == pytest.approx(current / (1 - decay), rel=1e-9)


def test_spikes_follow_the_equation() -> None:
    liquid = RandomLiquid(6, ResistiveArray(0.8), neurons=12, decay=0.8, threshold=1.0).double()
    x = (torch.rand(40, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    u = s = torch.zeros(3, 12, dtype=torch.float64)
    expected = []
    for now in x:
        drive = now @ liquid.feed.weight.T + s @ liquid.cells.lateral.weight.T
        u = 0.8 * u * (1 - s) + drive
        s = (u >= 1.0).double()
        expected.append(s)
    torch.testing.assert_close(liquid.spikes(x), torch.stack(expected), rtol=0.0, atol=0.0)
    torch.testing.assert_close(liquid(x), torch.stack(expected).sum(0))
    assert 0.05 < liquid(x).mean() / 40 < 0.9


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, np.ndarray]:
    """600 digits as 25 binary frames of 16 x 16."""
    data = load("nmnist", steps=25, values="binary")
    x, y = data.__getitems__(list(range(0, 1000, 2)))
    return central(x), y.numpy()


def told(counts: torch.Tensor, labels: np.ndarray) -> Score:
    half = np.arange(len(labels)) % 2 == 0
    readout = fit_readout(
        counts[half], labels[half], (counts[half], labels[half]), penalties=[1e-4], shares=False,
        soft=False, epochs=3,
    )  # fmt: skip
    return readout.score(counts[~half], labels[~half])


def test_weak_weights_silence_a_liquid_and_strong_ones_saturate_it(
    digits: tuple[torch.Tensor, np.ndarray],
) -> None:
    x, labels = digits
    silent = RandomLiquid(256, ResistiveArray(1e-6))(x)
    assert not silent.any()
    right = told(silent, labels)
    assert right.interval[0] < 1 / 10 < right.interval[1] + 0.03
    loud = RandomLiquid(256, ResistiveArray(1e4))(x)
    assert loud.max() == 25  # no refractory period: a spike a step
    assert (loud >= 24).any(0).float().mean() > 0.2, "many neurons for some digit"
    assert told(RandomLiquid(256, ResistiveArray(0.3))(x), labels).accuracy > 0.6


def test_reads_without_noise_are_ideal_and_accuracy_falls_with_noise(
    digits: tuple[torch.Tensor, np.ndarray],
) -> None:
    x, labels = digits
    ideal = RandomLiquid(256, ResistiveArray(0.3), seed=3)(x)
    quiet = RandomLiquid(256, ResistiveArray(0.3, read_noise=0.0, noise_of="device"), seed=3)(x)
    torch.testing.assert_close(quiet, ideal, rtol=0.0, atol=0.0)
    scores = [told(ideal, labels)]
    for noise in (0.3, 3.0, 30.0):
        noisy = RandomLiquid(256, ResistiveArray(0.3, read_noise=noise), seed=3)(x)
        assert not torch.equal(noisy, ideal)
        scores.append(told(noisy, labels))
    for less, more in pairwise(scores):
        assert more.interval[0] < less.interval[1], "not higher, within the intervals"
    assert scores[-1].interval[1] < scores[0].interval[0]


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="need 0 < 4 deviation <= mean, got deviation 6"):
        ResistiveArray(0.1, mean=20.0, deviation=6.0)
    with pytest.raises(UserError, match="read_noise must be >= 0 and finite, got -1"):
        ResistiveArray(0.1, read_noise=-1.0)
    with pytest.raises(UserError, match=r"decay must be in \[0, 1\), got 1"):
        RandomLiquid(2, ResistiveArray(0.1), decay=1.0)
    liquid = RandomLiquid(2, ResistiveArray(0.1), neurons=3)
    for shape in ((5, 1, 3), (5, 2), (0, 1, 2)):
        with pytest.raises(UserError, match=r"takes \[T, B, 2\] with T >= 1, got"):
            liquid(torch.zeros(shape))
    for how in ({"size": 5}, {"size": 2, "polarity": 2}):
        with pytest.raises(UserError, match=r"frames \[1, 1, 2, 4, 4\] have no . x . pixels"):
            central(torch.zeros(1, 1, 2, 4, 4), **how)
