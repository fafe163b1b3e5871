"""The synthetic event camera against closed forms and an independent per-pixel simulation."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.datasets.source import EVENT_DTYPE
from spikesim.datasets.synthetic import EventCamera
from spikesim.errors import UserError
from spikesim.kernels.event_camera import crossings, interval_crossings

SIGMAS = 5.0  # seeds are fixed; one false alarm in two million
IDEAL = EventCamera(width=7, height=5, dark=0.0)


def random_video(frames: int = 40, stride: float = 0.5) -> tuple[NDArray, NDArray]:
    """Luminance whose log is a random walk, at uneven times."""
    rng = np.random.default_rng(0)
    log = rng.normal(0, stride, (frames, 5, 7)).cumsum(0)
    return np.exp(log), rng.uniform(100, 3000, frames).cumsum()


def simulated(camera: EventCamera, video: NDArray, times: NDArray) -> Iterator[tuple]:
    """One pixel after the other, by levels counted from the first sample's."""
    on, off = camera.thresholds()
    for y, x in np.ndindex(camera.height, camera.width):
        log = [math.log(v + camera.dark) for v in video[:, y, x]]
        ups = downs = 0
        last = -math.inf
        for k in range(len(log) - 1):
            reference = log[0] + ups * on[y, x] - downs * off[y, x]
            rise = log[k + 1] - reference
            step = on[y, x] if rise > 0 else -off[y, x]
            for n in range(1, math.floor(rise / step) + 1):
                level = reference + n * step
                t = np.interp(
                    level * np.sign(step),
                    np.array([log[k], log[k + 1]]) * np.sign(step),
                    times[k : k + 2],
                )
                ups, downs = ups + (step > 0), downs + (step < 0)
                if t - last >= camera.refractory_us:
                    last = t
                    yield t, x, y, step > 0


@pytest.mark.parametrize("refractory_us", [0.0, 700.0])
def test_equals_the_simulation_pixel_by_pixel(refractory_us: float) -> None:
    camera = dataclasses.replace(
        IDEAL,
        threshold_on=0.23,
        threshold_off=0.31,
        threshold_sigma=0.05,
        refractory_us=refractory_us,
        dark=0.01,
    )
    video, times = random_video()
    events = camera.convert(video, times)
    expected = sorted(simulated(camera, video, times), key=lambda e: (e[2], e[1], e[0]))
    ours = np.sort(events, order=["y", "x", "t"], kind="stable")
    assert len(ours) == len(expected) > 800
    for name, column in zip("txyp", zip(*expected, strict=True), strict=True):
        # times are rounded down, and 1e-6 us of rounding may tip one over
        tolerance = 1.0 if name == "t" else 0.0
        assert np.abs(ours[name].astype(float) - np.array(column, float)).max() <= tolerance


def test_compiled_kernel_equals_its_text() -> None:
    rng = np.random.default_rng(1)
    start, end = rng.normal(size=(2, 64))
    on, off = rng.uniform(0.05, 0.3, (2, 64))
    results = []
    for run in (
        lambda *a: crossings((start, end), (0.0, 1000.0), (on, off), 90.0, *a),
        lambda *a: interval_crossings(start, end, 0.0, 1000.0, on, off, 90.0, *a),
    ):
        state = (start.copy(), np.full(64, -np.inf))
        results.append((*run(*state), *state))
    for compiled, text in zip(*results, strict=True):
        np.testing.assert_array_equal(compiled, text)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("samples", [2, 3, 50])
def test_ramp_gives_one_event_per_threshold_at_its_crossing(sign: int, samples: int) -> None:
    camera = EventCamera(width=3, height=1, threshold_on=0.25, threshold_off=0.25, dark=0.0)
    depth = np.array([[0.24, 1.3, 4.9]])  # floor(depth / threshold) = 0, 5, 19
    times = np.linspace(0, 100_000, samples)
    video = np.exp(sign * depth * (times / 100_000)[:, None, None])
    events = camera.convert(video, times)
    assert np.bincount(events["x"], minlength=3).tolist() == [0, 5, 19]
    assert (events["p"] == (sign > 0)).all()
    for x in (1, 2):
        crossing = 0.25 * np.arange(1, 20) / depth[0, x] * 100_000
        t = events["t"][events["x"] == x]
        assert np.abs(t + 0.5 - crossing[: len(t)]).max() <= 0.51


def test_dark_level_softens_contrast_of_dim_pixels() -> None:
    video = np.array([0.0, 1.0]).reshape(2, 1, 1)
    for dark in (1e-3, 0.1, 1.0):
        camera = EventCamera(width=1, height=1, threshold_on=0.2, dark=dark)
        assert len(camera.convert(video, [0, 1])) == math.floor(math.log((1 + dark) / dark) / 0.2)


def test_static_scene_is_silent_without_noise() -> None:
    video = np.repeat(np.random.default_rng(0).uniform(0, 1, (1, 5, 7)), 20, axis=0)
    camera = dataclasses.replace(IDEAL, threshold_sigma=0.05, dark=0.001, cutoff_hz=100.0)
    assert len(camera.convert(video, np.arange(20) * 1000.0)) == 0


def test_inverted_luminance_swaps_on_and_off() -> None:
    video, times = random_video()
    events, inverted = IDEAL.convert(video, times), IDEAL.convert(1 / video, times)
    assert len(events) > 1000
    for name in "txy":
        np.testing.assert_array_equal(events[name], inverted[name])
    np.testing.assert_array_equal(events["p"], ~inverted["p"])


def test_reversed_monotone_video_swaps_on_and_off() -> None:
    rng = np.random.default_rng(2)
    direction = rng.choice([-1.0, 1.0], (1, 5, 7))
    log = direction * rng.uniform(0, 0.5, (30, 5, 7)).cumsum(0)
    times = np.arange(30) * 1000.0

    def counts(video: NDArray) -> NDArray:
        events, both = IDEAL.convert(video, times), np.zeros((2, 5, 7), int)
        np.add.at(both, (events["p"].astype(int), events["y"], events["x"]), 1)
        return both

    forward, backward = counts(np.exp(log)), counts(np.exp(log[::-1]))
    assert forward.sum() > 1000
    np.testing.assert_array_equal(forward, backward[::-1])


def test_refractory_time_limits_the_rate() -> None:
    video, times = random_video(stride=2.0)
    busy = IDEAL.convert(video, times)
    calm = dataclasses.replace(IDEAL, refractory_us=1000.0).convert(video, times)
    assert 0 < len(calm) < len(busy)
    for y, x in np.ndindex(5, 7):
        t = calm["t"][(calm["y"] == y) & (calm["x"] == x)]
        assert (np.diff(t) >= 1000).all()
        assert len(t) <= (times[-1] - times[0]) / 1000 + 1
    # a lost crossing still moves the reference: a fast rise is not made up for later
    ramp = np.exp(np.array([0.0, 2.0, 2.0])).reshape(3, 1, 1)
    slow = EventCamera(width=1, height=1, dark=0.0, refractory_us=5000.0)
    assert slow.convert(ramp, [0, 1000, 90_000])["t"].tolist() == [100]


def test_background_activity_is_poisson() -> None:
    camera = EventCamera(width=60, height=50, background_hz=4.0)
    video = np.full((2, 50, 60), 0.5)
    events = camera.convert(video, [0, 2_000_000])
    mean = 4.0 * 2.0
    counts = np.zeros((50, 60))
    np.add.at(counts, (events["y"], events["x"]), 1)
    assert abs(counts.mean() - mean) <= SIGMAS * math.sqrt(mean / 3000)
    assert abs(counts.var() - mean) <= SIGMAS * math.sqrt((mean + 2 * mean**2) / 3000)
    assert abs(events["p"].mean() - 0.5) <= SIGMAS * 0.5 / math.sqrt(len(events))
    # given their number, the times of a Poisson process are uniform: Kolmogorov's statistic
    distance = np.abs(events["t"] / 2e6 - (np.arange(len(events)) + 0.5) / len(events)).max()
    assert distance * math.sqrt(len(events)) <= 2.5  # exceeded once in 130,000


def test_background_is_laid_over_the_signal() -> None:
    video, times = random_video()
    clean = IDEAL.convert(video, times)
    noisy = dataclasses.replace(IDEAL, background_hz=50.0).convert(video, times)
    assert len(noisy) > len(clean)
    both, count = np.unique(np.concatenate([noisy, clean]), return_counts=True)
    assert np.isin(clean, noisy).all()
    assert (count <= 2).all()
    assert len(both) == len(noisy)


def test_low_pass_step_response() -> None:
    # a step of 2 log units: F = 2 (1 - exp(-t / tau)), so level 0.2 k is crossed at
    # -tau ln(1 - k / 10); sampled finely, because the camera interpolates F in straight lines
    camera = EventCamera(width=1, height=1, dark=0.0, cutoff_hz=50.0)
    tau_us = 1e6 / (2 * math.pi * 50.0)
    times = np.concatenate([[-1e-6], np.arange(0.0, 12_000.0, 5.0)])
    video = np.exp(np.where(times < 0, 0.0, 2.0)).reshape(-1, 1, 1)
    t = camera.convert(video, times)["t"]
    expected = -tau_us * np.log(1 - np.arange(1, 10) / 10)
    assert len(t) == 9
    assert np.abs(t + 0.5 - expected).max() <= 1.0


def test_low_pass_is_exact_for_a_ramp_however_sampled() -> None:
    # settled, F follows the ramp tau late: F = s (t - tau + tau exp(-t / tau))
    camera = EventCamera(width=1, height=1, threshold_on=0.5, dark=0.0, cutoff_hz=20.0)
    ends = []
    for samples in (3, 10, 1000):
        times = np.linspace(0, 100_000, samples)
        t = camera.convert(np.exp(times * 1e-4).reshape(-1, 1, 1), times)["t"]
        ends.append((len(t), t[-1]))
    tau_us = 1e6 / (2 * math.pi * 20.0)
    reached = 1e-4 * (100_000 - tau_us + tau_us * math.exp(-100_000 / tau_us))
    assert {n for n, _ in ends} == {math.floor(reached / 0.5)}
    assert abs(ends[-1][1] - (math.floor(reached / 0.5) * 0.5 / 1e-4 + tau_us)) < 5


@pytest.mark.parametrize("frequency_hz", [10.0, 40.0, 160.0])
def test_low_pass_attenuates_flicker(frequency_hz: float) -> None:
    cutoff, depth, theta = 40.0, 2.0, 0.05
    camera = EventCamera(
        width=1, height=1, threshold_on=theta, threshold_off=theta, dark=0.0, cutoff_hz=cutoff
    )
    period_us = 1e6 / frequency_hz
    events = camera.record(
        lambda x, y, t: np.exp(depth * np.sin(2 * np.pi * t / period_us)) + 0 * x,
        10 * period_us,
        step_us=period_us / 200,
    )
    late = events[events["t"] >= 8 * period_us]  # settled: two cycles of a sine
    amplitude = depth / math.sqrt(1 + (frequency_hz / cutoff) ** 2)
    # levels lie on a lattice of spacing theta; n + 1 of them lie between trough and peak
    for polarity in (False, True):
        per_cycle = (late["p"] == polarity).sum() / 2
        assert 2 * amplitude / theta - 2 < per_cycle <= 2 * amplitude / theta


def test_thresholds_vary_over_pixels_as_asked() -> None:
    camera = EventCamera(
        width=200, height=100, threshold_on=0.3, threshold_off=0.2, threshold_sigma=0.03
    )
    for threshold, mean in zip(camera.thresholds(), (0.3, 0.2), strict=True):
        assert threshold.shape == (100, 200)
        assert abs(threshold.mean() - mean) <= SIGMAS * 0.03 / math.sqrt(20_000)
        assert abs(threshold.std() - 0.03) <= SIGMAS * 0.03 / math.sqrt(40_000)
    wild = dataclasses.replace(camera, threshold_sigma=1.0).thresholds()
    assert wild[0].min() == pytest.approx(0.03)


def test_same_seed_same_events() -> None:
    video, times = random_video()
    camera = dataclasses.replace(IDEAL, threshold_sigma=0.03, background_hz=20.0, seed=3)
    events = camera.convert(video, times)
    np.testing.assert_array_equal(events, camera.convert(video, times))
    other = camera.convert(video, times, recording=1)
    assert not np.array_equal(events, other)
    silent = dataclasses.replace(camera, background_hz=0.0)
    assert np.isin(silent.convert(video, times), other).all()  # same thresholds
    assert not np.array_equal(events, dataclasses.replace(camera, seed=4).convert(video, times))


def test_layout_is_tonics() -> None:
    from tonic.transforms import ToImage

    video, times = random_video()
    camera = dataclasses.replace(IDEAL, background_hz=20.0)
    events = camera.convert(video, times)
    assert events.dtype == EVENT_DTYPE
    assert (np.diff(events["t"]) >= 0).all()
    assert events["x"].max() < 7
    assert events["y"].max() < 5
    off, on = ToImage(sensor_size=camera.sensor_size)(events)
    assert on.shape == (5, 7)
    assert on.sum() == events["p"].sum()
    assert off[2, 6] == ((events["x"] == 6) & (events["y"] == 2) & ~events["p"]).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width must lie in 1 to 32768 pixels, got 0"),
        ({"height": 40_000}, "height must lie in 1 to 32768 pixels"),
        ({"threshold_on": 0.0}, "threshold_on must be >= 0.001 log units, got 0"),
        ({"threshold_off": math.nan}, "threshold_off must be >= 0.001 log units, got nan"),
        ({"background_hz": -1.0}, "background_hz must be >= 0 and finite, got -1"),
        ({"cutoff_hz": 0.0}, "cutoff_hz must be > 0 Hz, or None"),
    ],
)
def test_bad_parameters_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(IDEAL, **arguments)


@pytest.mark.parametrize(
    ("frames", "times", "message"),
    [
        (np.ones((3, 7, 5)), range(3), r"frames must be \[F, 5, 7\]"),
        (np.ones((3, 5, 7), np.uint8), range(3), "floating point, got uint8; e.g. frames / 255"),
        (np.ones((3, 5, 7)), range(4), r"3 frames need as many times, got \[4\]"),
        (np.ones((3, 5, 7)), [0, 2, 2], "times must increase, got 2 us after 2 us"),
        (np.ones((1, 5, 7)), [0], "at least two frames, got one"),
        (np.ones((0, 5, 7)), [], "at least two frames, got none"),
        (np.zeros((2, 5, 7)), [0, 1], "luminance from 0 to 0 with dark 0 at 0 us; raise dark"),
        (-np.ones((2, 5, 7)), [0, 1], "luminance from -1 to -1"),
        (np.full((2, 5, 7), np.nan), [0, 1], "luminance from nan to nan"),
    ],
)
def test_bad_videos_are_refused(frames: NDArray, times: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        IDEAL.convert(frames, list(times))


def test_bad_patterns_are_refused() -> None:
    with pytest.raises(UserError, match="duration_us and step_us must be > 0, got 0 and 1000"):
        IDEAL.record(lambda x, y, t: x, 0)
    with pytest.raises(UserError, match=r"the pattern must return \[5, 7\], got \[7, 5\]"):
        IDEAL.record(lambda x, y, t: 1 + x.T, 1000)
