import numpy as np
import pytest

from spikesim.datasets.synthetic_motion import Cloud, Gaze, moving_clouds, residual_events
from spikesim.errors import UserError


@pytest.mark.parametrize("threshold", [0.1, 0.7])
def test_events_add_up_to_the_change(threshold):
    rng = np.random.default_rng(0)
    # steps below the threshold, so that one event each is enough
    frames = np.cumsum(rng.uniform(-threshold, threshold, (50, 6, 5)), axis=0)
    events, residual = residual_events(frames, threshold)
    told = threshold * (events[:, 1].sum(0) - events[:, 0].astype(int).sum(0))
    change = frames[-1] - frames[0]
    assert np.abs(change - told).max() <= threshold
    np.testing.assert_allclose(change, told + residual, atol=1e-12)
    assert not (events[:, 0] & events[:, 1]).any()


def test_a_jump_is_told_over_several_steps():
    frames = np.array([0.0, 2.6, 2.6, 2.6, 2.6]).reshape(-1, 1, 1)
    events, residual = residual_events(frames, 1.0)
    assert events[:, 1, 0, 0].tolist() == [True, True, False, False]
    assert residual.item() == pytest.approx(0.6)
    with pytest.raises(UserError, match="threshold"):
        residual_events(frames, 0.0)


def test_a_whole_pixel_is_a_roll_and_halves_add_up():
    path = np.array([[0.0, 0.0], [3.0, -2.0], [0.5, 0.25], [32.0, 0.0]])
    movie = Cloud().movie(path, 32, np.random.default_rng(0))
    np.testing.assert_allclose(movie[1], np.roll(movie[0], (-2, 3), axis=(0, 1)), atol=1e-10)
    np.testing.assert_allclose(movie[3], movie[0], atol=1e-10)
    assert movie[0].std() == pytest.approx(1.0)
    assert movie[2].std() == pytest.approx(1.0)  # nothing is blurred


def test_the_spectrum_falls_as_it_should():
    movie = Cloud(exponent=1.5).movie(np.zeros((1, 2)), 256, np.random.default_rng(1))[0]
    power = np.abs(np.fft.fft2(movie)) ** 2
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    bands = [(0.02, 0.03), (0.2, 0.3)]
    low, high = (power[(f > a) & (f < b)].mean() for a, b in bands)
    assert np.log10(low / high) == pytest.approx(3.0, abs=0.15)


def test_bands_are_where_they_were_asked_for():
    cloud = Cloud(exponent=0.0, frequency=0.1, bandwidth=0.1, orientation=30.0, spread=5.0)
    amplitude = cloud.amplitude(128)
    row, column = np.unravel_index(amplitude.argmax(), amplitude.shape)
    fx, fy = np.fft.rfftfreq(128)[column], np.fft.fftfreq(128)[row]
    assert np.hypot(fx, fy) == pytest.approx(0.1, abs=0.01)
    assert np.rad2deg(np.arctan2(fy, fx)) == pytest.approx(30.0, abs=5)


def test_a_speed_bandwidth_changes_the_texture_as_it_goes():
    still = np.zeros((30, 2))
    rigid, loose = (
        Cloud(speed_bandwidth=b).movie(still, 64, np.random.default_rng(0)) for b in (0.0, 0.5)
    )
    likeness = [(movie[0] * movie[-1]).mean() for movie in (rigid, loose)]
    assert likeness[0] == pytest.approx(1.0)
    assert likeness[1] < 0.9


def test_gaze_follows_its_laws():
    gaze = Gaze(12, (0.25, 0.5, 1.0), mean_steps=24.0)
    velocities = gaze.velocities()
    assert velocities.shape == (36, 2)
    np.testing.assert_allclose(np.hypot(*velocities.T), np.repeat([0.25, 0.5, 1.0], 12))
    np.testing.assert_allclose(velocities[24 + 3], [0.0, 1.0], atol=1e-12)  # down
    labels = gaze.labels(60_000, np.random.default_rng(0))
    lengths = np.diff(np.flatnonzero(np.diff(labels)))
    assert lengths.mean() == pytest.approx(24 * 36 / 35, rel=0.03)  # 1 in 36 goes on
    assert np.bincount(labels, minlength=36).min() > 500
    np.testing.assert_allclose(np.diff(gaze.path(labels[:9]), axis=0), velocities[labels[:9]])


def test_movies_depend_on_their_number_alone():
    x, labels = moving_clouds(3, 16, 20, seed=5)
    again, same = moving_clouds(2, 16, 20, seed=5)
    assert x.shape == (20, 3, 2, 16, 16)
    np.testing.assert_array_equal(x[:, :2], again)
    np.testing.assert_array_equal(labels[:, :2], same)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cloud(frequency=0.7),
        lambda: Cloud(spread=0.0),
        lambda: Cloud(speed_bandwidth=-1.0),
        lambda: Gaze(directions=0),
        lambda: Gaze(speeds=()),
        lambda: Gaze(mean_steps=0.0),
    ],
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(UserError):
        make()
