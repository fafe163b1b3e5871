import pytest
import torch

from spikesim.errors import UserError
from spikesim.motion import (
    MotionDetector,
    half_saturation,
    operations,
    pruned,
    scatter,
    shortened,
)

TOLERANCE = 1e-5  # sums of float32 in another order


@pytest.fixture
def x():
    return (torch.rand(17, 2, 2, 11, 13, generator=torch.Generator().manual_seed(0)) < 0.04).float()


@pytest.fixture
def detector():
    generator = torch.Generator().manual_seed(1)
    return MotionDetector(6, 5, 7, first=9.0, scale=0.3, generator=generator)


@pytest.mark.parametrize("keep", [1, 100, None])
def test_events_give_what_the_dense_convolution_gives(x, detector, keep):
    if keep is not None:
        detector.weight.data = pruned(detector.weight, keep)
    evidence, additions = detector.scattered(x)
    torch.testing.assert_close(evidence, detector(x).detach(), rtol=TOLERANCE, atol=TOLERANCE)
    weight = detector.weight * detector.mask
    assert additions == operations(x, weight) + operations(x.flip(2), weight)


@pytest.mark.parametrize("keep", [0, 1, 57, 300])
def test_additions_are_events_times_synapses(x, detector, keep):
    weight = pruned(detector.weight, keep)
    assert int((weight != 0).sum()) == keep
    _, additions = scatter(x, weight)
    by_hand = sum(
        int(x[:, :, p].sum()) * int((weight[:, p] != 0).sum()) for p in range(weight.shape[1])
    )
    assert additions == operations(x, weight) == by_hand


def test_the_largest_weights_stay(detector):
    weight = detector.weight.detach()
    kept = pruned(weight, 40)
    assert kept[kept != 0].abs().min() >= weight[kept == 0].abs().max()
    assert torch.equal(kept[kept != 0], weight[kept != 0])
    with pytest.raises(UserError, match="keep"):
        pruned(weight, weight.numel() + 1)


def test_short_kernels_have_short_delays(x, detector):
    short = shortened(detector.weight, 2)
    assert torch.equal(short[:, :, :2], detector.weight[:, :, :2])
    assert not short[:, :, 2:].any()
    torch.testing.assert_close(scatter(x, short)[0], scatter(x, short[:, :, :2])[0])


def test_half_saturation_is_the_last_crossing():
    assert half_saturation([1, 10, 100, 1000], [0.1, 0.6, 0.3, 0.9], 0.1) == pytest.approx(
        100 * 10 ** (0.2 / 0.6)
    )
    assert half_saturation([1, 10], [0.9, 0.9], 0.1) is None


def test_sizes_that_do_not_fit_are_refused(x):
    with pytest.raises(UserError, match="odd"):
        scatter(x, torch.ones(2, 2, 3, 4, 5))
    with pytest.raises(UserError, match="input"):
        scatter(x, torch.ones(2, 3, 3, 5, 5))
