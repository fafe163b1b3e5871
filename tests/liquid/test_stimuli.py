"""Events that a liquid is shown."""

import numpy as np
import pytest

from spikesim.datasets import EVENT_DTYPE
from spikesim.errors import UserError
from spikesim.liquid.stimuli import CameraStimuli, PoissonStimuli, brightness, event_counts


def test_events_are_as_frequent_as_their_probabilities() -> None:
    p = np.array([[0.0, 0.1, 1.0, 0.6]])
    steps = 5000
    found = event_counts(PoissonStimuli(p, seed=1), steps)[0]
    assert found[0] == 0
    assert found[2] == steps
    np.testing.assert_allclose(
        found / steps, p[0], atol=4 * np.sqrt(0.25 / steps), err_msg="4 deviations"
    )
    events = PoissonStimuli(p, seed=1).show(0, steps)
    gaps = np.diff(np.repeat(np.arange(steps), np.diff(events.starts))[events.inputs == 3])
    # Geometric: the share of neighbours in time is the probability itself.
    assert (gaps == 1).mean() == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / len(gaps)))


def test_draws_depend_on_seed_stimulus_and_visit_alone() -> None:
    p = np.full((3, 30), 0.2)
    shown = PoissonStimuli(p, seed=4)
    first = shown.show(2, 50)
    np.testing.assert_array_equal(PoissonStimuli(p, seed=4).show(2, 50).inputs, first.inputs)
    longer = shown.show(2, 80)
    np.testing.assert_array_equal(longer.inputs[: longer.starts[50]], first.inputs)
    for other in (shown.show(1, 50), shown.show(2, 50, visit=0), PoissonStimuli(p).show(2, 50)):
        assert not np.array_equal(other.starts, first.starts)


def test_brightness_is_relative_to_the_whole_split() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), np.uint8)
    shares = images.reshape(5, 16) / images.reshape(5, 16).sum(1, keepdims=True)
    np.testing.assert_allclose(brightness(images), shares / shares.max(), rtol=1e-6)


def recording() -> np.ndarray:
    rows = [(400, 1, 0, 0), (499, 1, 0, 0), (500, 1, 0, 0), (700, 0, 1, 1), (9400, 2, 1, 1)]
    events = np.zeros(len(rows), EVENT_DTYPE)
    for event, (t, x, y, p) in zip(events, rows, strict=True):
        event["t"], event["x"], event["y"], event["p"] = t, x, y, p
    return events


def test_events_of_a_camera_are_rounded_to_milliseconds() -> None:
    shown = CameraStimuli([recording()], sensor_size=(3, 2, 2))
    assert shown.inputs == 12
    starts, inputs = shown.show(0, 4)
    assert starts.tolist() == [0, 1, 3, 3, 3]
    # Polarity, row, column; two events of a pixel in a millisecond are one.
    assert inputs.tolist() == [1, 1, 6 + 3 + 0]
    assert event_counts(shown, 10)[0, 6 + 3 + 2] == 1


def test_snapshots_of_a_camera_begin_anywhere() -> None:
    shown = CameraStimuli([recording()], sensor_size=(3, 2, 2))
    found = {tuple(shown.show(0, 2, visit).starts.tolist()) for visit in range(60)}
    assert found == {(0, 1, 3), (0, 2, 2), (0, 0, 0), (0, 0, 1)}


def test_bad_probabilities_are_refused() -> None:
    with pytest.raises(UserError, match=r"probability must be \[n, inputs\] in \[0, 1\]"):
        PoissonStimuli(np.full((2, 3), 1.5))


def test_events_beside_the_sensor_are_refused() -> None:
    """They would be those of another pixel."""
    for size, message in (((2, 2, 2), "x from 0 to 2"), ((3, 1, 2), "y from 0 to 1")):
        with pytest.raises(UserError, match=f"recording 1 has {message}, but sensor_size is"):
            CameraStimuli([recording()[:0], recording()], sensor_size=size)
    with pytest.raises(UserError, match="p from"):
        CameraStimuli([recording()], sensor_size=(3, 2, 1))
