"""Moving patterns: geometry, statistics, and what the camera makes of them."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.datasets.synthetic import EventCamera, labelled
from spikesim.datasets.synthetic_patterns import (
    Bars,
    Grating,
    MovingImage,
    Path,
    Texture,
    directions,
    saccades,
)
from spikesim.errors import UserError

Y, X = np.mgrid[0:24, 0:32].astype(float)
AXES = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}  # angle -> (dx, dy)
MOVING = [
    Bars(angle=0, speed=100),
    Grating(angle=0, speed=100, wavelength=12),
    Texture(angle=0, speed=100, size=64),
]


@pytest.mark.parametrize("angle", AXES)
@pytest.mark.parametrize("kind", [Bars, Grating, Texture])
def test_pattern_moves_in_its_direction_at_its_speed(kind: type, angle: int) -> None:
    pattern = kind(angle=angle, speed=50.0)
    dx, dy = AXES[angle]
    # 60 ms at 50 px/s: 3 px; (angle, 90 down) in image coordinates
    later = pattern(X + 3 * dx, Y + 3 * dy, 60_000.0)
    np.testing.assert_allclose(later, pattern(X, Y, 0.0), atol=1e-9)
    assert not np.allclose(pattern(X, Y, 60_000.0), pattern(X, Y, 0.0), atol=0.01)


def test_bar_width_and_luminance() -> None:
    # a bar of width 5 about 10 covers pixels 8 to 12, and 8 pixels further in each period
    line = Bars(angle=0, speed=0, width=5, period=20, bright=1.0, dark=0.25, offset=10)
    luminance = line(X, Y, 0.0)
    assert (luminance == luminance[:1]).all()
    assert luminance[0, :30].tolist() == ([0.25] * 8 + [1.0] * 5 + [0.25] * 7 + [0.25] * 8 + [1, 1])


def test_bar_edges_reach_pixels_in_turn() -> None:
    camera = EventCamera(width=32, height=3, threshold_on=0.5, threshold_off=0.5)
    bar = Bars(angle=0, speed=200.0, width=6, period=1000, offset=-10)
    events = camera.record(bar, 250_000, step_us=250.0)
    first = [events["t"][(events["x"] == x) & events["p"]].min() for x in range(32)]
    np.testing.assert_allclose(np.diff(first), 1e6 / 200.0, atol=2)
    # the trailing edge follows one bar width later, dark to bright and back being symmetric
    for x in range(20):
        here = events[(events["x"] == x) & (events["y"] == 1)]
        assert here["p"].sum() == (~here["p"]).sum() == math.floor(math.log(0.901 / 0.101) / 0.5)


@pytest.mark.parametrize("contrast", [0.3, 0.8, 0.95])
def test_grating_events_per_cycle_are_the_log_range_over_the_threshold(contrast: float) -> None:
    theta, cycles = 0.15, 6
    camera = EventCamera(
        width=20, height=2, threshold_on=theta, threshold_off=theta, dark=0.0, refractory_us=0
    )
    grating = Grating(angle=0, speed=80.0, wavelength=16.0, contrast=contrast)
    events = camera.record(grating, cycles * 200_000, step_us=200.0)
    # whole cycles, cut where no level is crossed
    settled = events[(events["t"] >= 237_000) & (events["t"] < 1_037_000)]
    high, low = math.log((1 + contrast) / 2), math.log((1 - contrast) / 2)
    for x in range(20):
        start = math.log(grating(np.array([[float(x)]]), np.zeros((1, 1)), 0.0).item())
        # levels lie on a lattice through the first sample; each cycle sweeps all inside the range
        per_cycle = math.floor((high - start) / theta) + math.floor((start - low) / theta)
        here = settled[(settled["x"] == x) & (settled["y"] == 0)]
        margin = 1e-3 + (high - low) * 1e-3  # sampling may miss an extreme by this
        sure = all(margin < abs(edge - start) % theta < theta - margin for edge in (high, low))
        if sure:
            assert here["p"].sum() == (~here["p"]).sum() == per_cycle * 4


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_texture_has_the_spectrum_of_natural_scenes(exponent: float) -> None:
    size = 256
    z = Texture(angle=0, speed=0, size=size, exponent=exponent, seed=1).z
    assert z.shape == (size, size)
    assert abs(z.mean()) < 1e-9
    assert z.std() == pytest.approx(1.0)
    power = np.abs(np.fft.fft2(z)) ** 2
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    rings = [(f >= a) & (f < 1.2 * a) for a in np.geomspace(0.02, 0.4, 15)]
    slope = np.polyfit(
        [np.log(f[r]).mean() for r in rings], [np.log(power[r].mean()) for r in rings], 1
    )[0]
    assert slope == pytest.approx(-2 * exponent, abs=0.1)


def test_texture_wraps_without_a_seam() -> None:
    texture = Texture(angle=0, speed=0, size=16)
    np.testing.assert_allclose(texture(X + 16, Y - 32, 0.0), texture(X, Y, 0.0))
    assert np.log(2 * texture(X[:16, :16], Y[:16, :16], 0.0)).std() == pytest.approx(0.7)


def test_image_is_seen_where_the_path_says() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (10, 12))
    moving = MovingImage(image, Path((0.0, 1000.0), (3.0, 13.0), (2.0, 6.0)))
    np.testing.assert_allclose(moving(X, Y, 0.0)[2:12, 3:15], image)
    np.testing.assert_allclose(moving(X, Y, 5000.0)[6:16, 13:25], image)
    between = moving(X, Y, 50.0)  # 3.5 px right, 2.2 px down
    expected = 0.5 * (0.8 * image[4, 5] + 0.2 * image[3, 5])
    expected += 0.5 * (0.8 * image[4, 4] + 0.2 * image[3, 4])
    assert between[6, 8] == pytest.approx(expected)
    assert (moving(X, Y, 0.0)[:3, :4] == image[0, 0]).all()  # the border goes on
    doubled = MovingImage(image, Path((0.0,), (0.0,), (0.0,)), scale=2.0)
    np.testing.assert_allclose(doubled(X, Y, 0.0)[:20:2, :24:2], image)


def test_saccades_draw_a_closed_triangle() -> None:
    path = saccades(6.0, 300_000)
    corners = [path(t) for t in (0, 100_000, 200_000, 300_000)]
    assert corners == [(0.0, 0.0), (3.0, 6.0), (6.0, 0.0), (0.0, 0.0)]
    assert path(50_000) == (1.5, 3.0)


def test_saccade_without_texture_is_silent() -> None:
    camera = EventCamera(width=32, height=24)
    assert len(camera.record(MovingImage(np.full((9, 9), 0.5), saccades(5.0)), 300_000)) == 0


def motion(events: NDArray, camera: EventCamera) -> int:
    """The axis direction in which the best-matching shift between count frames lies."""
    bins = 40
    frames = np.zeros((bins, camera.height, camera.width))
    t = (events["t"] * bins // (events["t"].max() + 1)).astype(int)
    np.add.at(frames, (t, events["y"], events["x"]), np.where(events["p"], 1.0, -1.0))
    match = [
        sum((frames[:-1] * np.roll(frames[1:], (-k * dy, -k * dx), (1, 2))).sum() for k in (1, 2))
        for dx, dy in AXES.values()
    ]
    return int(np.argmax(match))


def test_labelled_directions_can_be_told_from_the_events_alone() -> None:
    camera = EventCamera(
        width=32, height=32, threshold_sigma=0.03, refractory_us=500, background_hz=1.0
    )
    recordings = labelled(directions(4, speed=150.0), 24, camera, 300_000, step_us=2000.0)
    assert [label for _, label in recordings] == [0, 1, 2, 3] * 6
    assert [motion(events, camera) for events, _ in recordings] == [0, 1, 2, 3] * 6


def test_labelled_recordings_depend_on_seed_and_number_only() -> None:
    camera = EventCamera(width=16, height=16, background_hz=5.0)
    many, few, other = (
        labelled(directions(3), n, camera, 50_000, seed=seed)
        for n, seed in ((5, 0), (3, 0), (3, 1))
    )
    for (a, _), (b, _), (c, _) in zip(many, few, other, strict=False):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bars(0, 1, width=9, period=9), "width must lie between 0 and period = 9 px"),
        (lambda: Bars(0, 1, bright=-1), "bright and dark must be >= 0"),
        (lambda: Grating(0, 1, wavelength=0), "wavelength must be > 0 px, got 0"),
        (lambda: Grating(0, 1, contrast=1.1), r"contrast must lie in \[0, 1\]"),
        (lambda: Texture(0, 1, size=1), "size must be >= 2 px, got 1"),
        (lambda: Texture(0, 1, contrast=-1), "contrast must be >= 0, got -1"),
        (lambda: Path((0,), (0, 1), (0,)), "must be equally long, got 1, 2 and 1 corners"),
        (lambda: Path((1, 1), (0, 1), (0, 1)), "times_us must increase"),
        (lambda: MovingImage(np.zeros((2, 2, 3)), saccades(1)), r"image must be \[h, w\]"),
        (lambda: MovingImage(np.zeros((2, 2)), saccades(1), scale=0), "scale must be > 0, got 0"),
        (lambda: labelled([], 1, EventCamera(2, 2), 1000), "at least one class"),
    ],
)
def test_bad_parameters_are_refused(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
