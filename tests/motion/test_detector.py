import math

import pytest
import torch
from torch.nn import functional as F

from spikesim.datasets.synthetic_motion import Gaze, moving_clouds
from spikesim.errors import UserError
from spikesim.motion import MotionDetector, fit, mean_evidence
from spikesim.motion.detector import circles


def events(*shape, density=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < density).float()


def small(**options):
    return MotionDetector(5, 4, 5, scale=1.0, generator=torch.Generator().manual_seed(1), **options)


def test_published_size_has_as_many_parameters():
    detector = MotionDetector()
    assert detector.weight.shape == (36, 2, 21, 17, 17)
    assert sum(p.numel() for p in detector.parameters()) == 437_004


def test_a_kernel_on_the_line_of_a_moving_dot_gathers_all_of_it():
    delays, size, at = 21, 43, 60
    x = torch.zeros(40, 1, 1, 1, 80)
    for t in range(40):
        x[t, 0, 0, 0, 30 + t] = 1.0  # one pixel a step to the right
    detector = MotionDetector(
        2, delays, size, polarities=1, growth=math.inf, first=99.0, symmetric=False
    )
    with torch.no_grad():
        detector.weight.zero_()
        detector.bias.zero_()
        for d in range(delays):
            detector.weight[0, 0, d, size // 2, size // 2 + d] = 1.0
            detector.weight[1, 0, d, size // 2, size // 2 - d] = 1.0
        evidence = detector(x)[:, 0, :, 0]
    matched, mirrored = evidence[30]  # the dot is at 60
    assert matched[at] == delays
    assert matched.sum() == delays
    assert mirrored[at] == 1.0
    assert mirrored.max() == 1.0


def test_exchanged_polarities_leave_evidence_as_it_is():
    detector, x = small(), events(12, 2, 2, 9, 8)
    torch.testing.assert_close(detector(x), detector(x.flip(2)), rtol=0, atol=0)
    alone = small(symmetric=False)
    assert not torch.allclose(alone(x), alone(x.flip(2)))


def test_evidence_is_causal():
    detector, x = small(), events(12, 1, 2, 9, 8)
    later = x.clone()
    later[7:] = 1 - later[7:]
    torch.testing.assert_close(detector(x)[:7], detector(later)[:7])
    assert not torch.allclose(detector(x)[7], detector(later)[7])


def test_what_was_wholly_seen_is_the_middle_of_all():
    detector, x = small(), events(12, 2, 2, 9, 8)
    middle = detector(x)[3:, ..., 2:-2, 2:-2]
    torch.testing.assert_close(detector.within(x), middle)
    torch.testing.assert_close(detector.within(x, (2, 3, 1)), middle[::2, ..., ::3, :])


def test_circles_grow_with_delay():
    mask = circles(4, 7, first=1.0, growth=1.0)
    assert mask.sum((1, 2)).tolist() == [5, 13, 29, 37]
    detector = MotionDetector(2, 4, 7, first=1.0, scale=1.0)
    assert torch.equal(detector.weight != 0, (mask != 0).expand_as(detector.weight))
    (detector(events(6, 1, 2, 7, 7, density=0.5)).sum()).backward()
    assert not detector.weight.grad[..., mask == 0].any()


def test_the_threshold_gives_the_wanted_rate():
    detector, x = small(), events(50, 2, 2, 24, 24)
    evidence = detector(x).detach()
    spikes = detector.spikes(evidence, detector.threshold(evidence, rate_hz=4.0))
    assert spikes.sum(2).max() == 1
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert spikes.mean().item() * 1e3 == pytest.approx(4.0, rel=0.02)  # Hz at 1 ms
    assert bool((evidence.argmax(2) == spikes.argmax(2))[spikes.amax(2) > 0].all())
    with pytest.raises(UserError, match="rate_hz"):
        detector.threshold(evidence, rate_hz=300.0)


def test_a_step_of_learning_is_that_of_independent_logistic_regressions():
    detector, x = small(symmetric=False), events(9, 1, 2, 7, 7)
    labels = torch.full((9, 1), 3)
    weight, bias = detector.weight.detach().clone(), detector.bias.detach().clone()
    patches = x[:, 0].unfold(0, 4, 1).unfold(2, 5, 1).unfold(3, 5, 1)  # [t, P, i, j, D, h, w]
    patches = patches.permute(0, 2, 3, 1, 4, 5, 6).flip(4, 5, 6).flatten(3).flatten(0, 2)
    logits = patches @ weight.flatten(1).T + bias
    wanted = F.one_hot(torch.full((len(logits),), 3), 5).float()
    slope = (torch.sigmoid(logits) - wanted).T @ patches / logits.numel()
    slope = slope.view_as(weight) * detector.mask
    fit(detector, x, labels, epochs=1, lr=1e-3)
    moved = detector.weight.detach() - weight
    large = slope.abs() > 1e-5  # Adam's first step is the rate, against the slope's sign
    assert large.sum() > 100
    torch.testing.assert_close(moved[large], -1e-3 * slope[large].sign(), rtol=2e-2, atol=0)
    torch.testing.assert_close(moved[slope == 0], torch.zeros_like(moved[slope == 0]))


def test_mean_evidence_is_that_of_whole_neighbourhoods():
    detector, x = small(), events(12, 3, 2, 9, 8)
    wanted = detector(x).detach()[3:, ..., 2:-2, 2:-2].mean((3, 4))
    torch.testing.assert_close(mean_evidence(detector, x, batch=2), wanted)


def test_four_directions_are_learned():
    gaze = Gaze(4, (1.0,), mean_steps=20.0)
    x, labels = moving_clouds(24, 24, 60, gaze=gaze, threshold=0.6, seed=0)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    detector = MotionDetector(4, 5, 7, scale=0.03, generator=torch.Generator().manual_seed(0))
    losses = []
    options = {"epochs": 30, "lr": 1e-2, "last_lr": 1e-3, "batch": 2, "stride": (2, 3, 3)}
    fit(detector, x[:, :20], labels[:, :20], **options, tell=lambda _, loss: losses.append(loss))
    decided = mean_evidence(detector, x[:, 20:]).argmax(2)
    accuracy = (decided == labels[4:, 20:]).float().mean().item()
    assert losses[-1] < losses[0]
    assert accuracy > 0.6  # chance is 0.25


@pytest.mark.parametrize("sizes", [(1, 4, 5), (3, 0, 5), (3, 4, 4)])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(UserError, match="classes"):
        MotionDetector(*sizes)


def test_an_input_of_another_size_is_refused():
    with pytest.raises(UserError, match="input"):
        small()(torch.zeros(4, 1, 3, 8, 8))
