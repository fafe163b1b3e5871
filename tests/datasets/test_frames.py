"""Binning against Tonic, SpikingJelly, numpy and random events."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesim.datasets import EVENT_DTYPE, Binning, to_frames
from spikesim.datasets.pack import pack, unpack
from spikesim.errors import UserError
from spikesim.kernels.events import WARP_DTYPE, bin_events, identity_warp, warp_events

SENSOR = (7, 5, 2)


@st.composite
def recordings(draw, largest=60):
    count = draw(st.integers(1, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    events = np.empty(count, EVENT_DTYPE)
    # a short span makes many equal times and steps of less than 1 us
    events["t"] = np.sort(rng.integers(0, draw(st.integers(1, 500)), count))
    events["t"] += draw(st.sampled_from([0, 17, 10**12]))
    events["x"], events["y"] = rng.integers(0, 7, count), rng.integers(0, 5, count)
    events["p"] = rng.integers(0, 2, count)
    return events


def counted(events, steps, index):
    frames = np.zeros((steps, 2, 5, 7), np.float32)
    kept = index < steps
    place = (index[kept], events["p"][kept].astype(int), events["y"][kept], events["x"][kept])
    np.add.at(frames, place, 1)
    return frames


@given(recordings(), st.integers(1, 12), st.integers(1, 100))
@settings(deadline=None, max_examples=60)
def test_every_binning_equals_numpy(events, steps, width):
    t, n = events["t"] - events["t"][0], len(events)
    i = np.arange(n)
    last = np.full(n, steps - 1)
    by_default = {
        "time": np.minimum(t // (t[-1] // steps), last) if t[-1] >= steps else None,
        "count": np.minimum(i // (n // steps), last) if n >= steps else last,
    }
    for by, index in by_default.items():
        if index is not None:
            frames = to_frames(events, SENSOR, Binning(steps, by)).numpy()
            np.testing.assert_array_equal(frames, counted(events, steps, index))
            assert frames.sum() == n
    windows = to_frames(events, SENSOR, Binning(steps, window_us=width)).numpy()
    np.testing.assert_array_equal(windows, counted(events, steps, t // width))
    groups = to_frames(events, SENSOR, Binning(steps, "count", events_per_frame=width)).numpy()
    np.testing.assert_array_equal(groups, counted(events, steps, i // width))


@given(recordings(), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_binning_equals_tonic_up_to_the_remainder(events, steps):
    tonic = pytest.importorskip("tonic.transforms", reason="tonic is a dependency")
    t, n = events["t"] - events["t"][0], len(events)
    ours = to_frames(events, SENSOR, Binning(steps)).numpy()
    if t[-1] >= steps:
        theirs = tonic.ToFrame(SENSOR, n_time_bins=steps)(events.copy())
        np.testing.assert_array_equal(ours[:-1], theirs[:-1])
        left_out = events[t >= t[-1] // steps * steps]
        rest = counted(left_out, steps, np.full(len(left_out), steps - 1))
        np.testing.assert_array_equal(ours, theirs + rest)
    if n >= steps:
        ours = to_frames(events, SENSOR, Binning(steps, "count")).numpy()
        theirs = tonic.ToFrame(SENSOR, n_event_bins=steps)(events.copy())
        np.testing.assert_array_equal(ours[:-1], theirs[:-1])
        assert ours.sum() == n


@pytest.mark.parametrize("width", [1, 30, 100, 333])
def test_fixed_widths_equal_tonic(make_events, width):
    tonic = pytest.importorskip("tonic.transforms", reason="tonic is a dependency")
    events = make_events(400)
    for name, binning in (
        ("time_window", Binning(1, window_us=width)),
        ("event_count", Binning(1, "count", events_per_frame=width)),
    ):
        theirs = tonic.ToFrame(SENSOR, **{name: width})(events.copy())
        wider = Binning(len(theirs), binning.by, binning.window_us, binning.events_per_frame)
        np.testing.assert_array_equal(to_frames(events, SENSOR, wider).numpy(), theirs)


@pytest.fixture
def spikingjelly_utils(monkeypatch):
    """SpikingJelly's slicing alone: only the package around it needs torchvision."""
    folder = pytest.importorskip("spikingjelly", reason="needs spikingjelly").__path__[0]
    if importlib.util.find_spec("torchvision") is None:
        stand_in = ModuleType("torchvision")
        stand_in.transforms = ModuleType("torchvision.transforms")
        monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    spec = importlib.util.spec_from_file_location(
        "spikingjelly.datasets.utils", f"{folder}/datasets/utils.py"
    )
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)
    return utils


@pytest.mark.peers
@pytest.mark.parametrize("by", ["time", "count"])
@pytest.mark.parametrize("steps", [1, 4, 10, 16])
def test_slices_equal_spikingjelly(make_events, spikingjelly_utils, by, steps):
    events = make_events(397, last=10_007)
    theirs = spikingjelly_utils.integrate_events_by_fixed_frames_number(
        {name: np.asarray(events[name], np.int64) for name in "txyp"},
        {"time": "time", "count": "number"}[by], steps, 5, 7,
    )  # fmt: skip
    ours = to_frames(events, SENSOR, Binning(steps, by)).numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_nothing_is_written_beside_the_frames(make_events):
    packed, _ = pack(make_events(300), SENSOR, "guarded")
    # events beyond the sensor named to the loop: they must be skipped, not written elsewhere
    sensor, shape = (4, 3), (6, 2, 2, 3, 4)
    around = np.full(np.prod(shape) + 200, np.nan, np.float32)
    out = around[100:-100].reshape(shape)
    out[...] = 0
    offsets, span = np.array([0, 140, 300]), np.array([500, 999])
    bin_events(packed, offsets, np.zeros(2, np.int64), span, out=out, sensor=sensor)
    assert np.isnan(around[:100]).all()
    assert np.isnan(around[-100:]).all()
    events = unpack(packed)
    assert out.sum() == ((events["x"] < 4) & (events["y"] < 3)).sum()


def test_empty_recording_gives_empty_frames():
    frames = to_frames(np.empty(0, EVENT_DTYPE), SENSOR, Binning(4))
    assert frames.shape == (4, 2, 5, 7)
    assert frames.count_nonzero() == 0


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 3), (4, 6), (10, 14), (11, 3)])
def test_resizing_keeps_every_event(make_events, size):
    events = make_events(500)
    frames = to_frames(events, SENSOR, Binning(3, size=size))
    assert frames.shape == (3, 2, *size)
    assert frames.sum() == 500
    expected = np.zeros(size)
    rows = (2 * events["y"].astype(int) + 1) * size[0] // 10
    np.add.at(expected, (rows, (2 * events["x"].astype(int) + 1) * size[1] // 14), 1)
    np.testing.assert_array_equal(frames.sum((0, 1)).numpy(), expected)


def test_integer_downsizing_adds_up_blocks(make_events):
    events = make_events(600, size=(8, 6))
    full = to_frames(events, (8, 6, 2), Binning(4))
    half = to_frames(events, (8, 6, 2), Binning(4, size=(3, 4)))
    blocks = full.reshape(4, 2, 3, 2, 4, 2).sum((3, 5))
    assert torch.equal(half, blocks)


def test_values(make_events):
    events = make_events(800)
    counts = to_frames(events, SENSOR, Binning(3))
    assert counts.max() > 1
    binary = to_frames(events, SENSOR, Binning(3, values="binary"))
    assert torch.equal(binary, (counts > 0).float())
    logs = to_frames(events, SENSOR, Binning(3, values="log1p"))
    torch.testing.assert_close(logs, torch.log1p(counts))


def test_one_polarity_and_one_row():
    events = np.array([(0, 3, 1), (5, 3, 0), (9, 1, 1)], [("t", "i8"), ("x", "i8"), ("p", "i8")])
    frames = to_frames(events, (4, 1, 1), Binning(1))
    assert frames.flatten().tolist() == [0, 1, 0, 2]


@given(recordings())
@settings(deadline=None, max_examples=30)
def test_unpacking_returns_the_events(events):
    packed, origin = pack(events, SENSOR, "r")
    np.testing.assert_array_equal(unpack(packed, origin), events)


def test_moved_events_bin_to_the_same_frames(make_events):
    packed, _ = pack(make_events(400), SENSOR, "r")
    warps = np.concatenate([identity_warp(), np.zeros(1, WARP_DTYPE)])
    warps["affine"][1] = [0.9, 0.4, 0.5, -0.4, 0.9, 0.0]
    warps["roll"][1], warps["flip"][1], warps["holes"][1, 0] = (2, -1), True, (1, 1, 3, 2)
    warps["gap"][1], warps["rate"][1], warps["key"][1] = (0.2, 0.4), 2**62, 99
    offsets, span, start = np.array([0, 400]), np.array([999]), np.zeros(1, np.int64)
    for warp in warps:
        direct = np.zeros((5, 1, 2, 10, 6), np.float32)
        bin_events(packed, offsets, start, span, out=direct, sensor=(7, 5), warps=np.array([warp]))
        moved = warp_events(packed, 0, 999, warp, (7, 5), (10, 6))
        two_steps = np.zeros_like(direct)
        ends = np.array([0, len(moved)])
        bin_events(moved, ends, start, span, out=two_steps, sensor=(6, 10))
        np.testing.assert_array_equal(direct, two_steps)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"by": "number"}, "'time' or 'count'"),
        ({"by": "count", "window_us": 10}, "window_us goes with"),
        ({"events_per_frame": 10}, "events_per_frame goes with"),
        ({"size": (0, 3)}, "size must be"),
        ({"values": "rates"}, "values must be"),
    ],
)
def test_wrong_binning_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        Binning(**arguments)


def test_events_outside_the_sensor_are_named(make_events):
    with pytest.raises(UserError, match=r"r1: \d+ of 20 events lie outside the sensor of 3 x 5"):
        pack(make_events(20), (3, 5, 2), "r1")


def test_unsorted_times_are_named(make_events):
    events = make_events(20)
    events["t"][7] = 2000
    with pytest.raises(UserError, match=r"r2: time runs backwards at event 8 "):
        pack(events, SENSOR, "r2")


def test_too_long_a_recording_is_refused(make_events):
    events = make_events(3)
    events["t"] = [0, 1, 2**32]
    with pytest.raises(UserError, match="r3: lasts 72 minutes"):
        pack(events, SENSOR, "r3")


def test_wrong_arrays_are_refused(make_events):
    packed, _ = pack(make_events(20), SENSOR, "r")
    one = np.zeros(1, np.int64)
    out = np.zeros((2, 1, 2, 5, 7), np.float32)
    with pytest.raises(ValueError, match="offsets must rise"):
        bin_events(packed, np.array([0, 21]), one, one, out=out, sensor=(7, 5))
    with pytest.raises(ValueError, match="two polarities"):
        bin_events(packed, np.array([0, 20]), one, one, out=out[:, :, :1].copy(), sensor=(7, 5))
    with pytest.raises(ValueError, match="contiguous"):
        bin_events(packed, np.array([0, 20]), one, one, out=out[:, :, ::-1], sensor=(7, 5))
