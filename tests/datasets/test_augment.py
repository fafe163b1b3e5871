"""Augmentation: known-answer random numbers, exact moves, and purity in (seed, epoch, index)."""

import numpy as np
import pytest
import torch

from spikesim.datasets import PRESETS, Augment, Binning, to_frames
from spikesim.datasets.augment import philox, uniforms
from spikesim.datasets.pack import pack
from spikesim.errors import UserError

N = 4000
"""Samples for statistics: 5 standard errors of a fair coin are then 4 %."""


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("0" * 32, "0" * 16, "6627e8d5e169c58dbc57ac4c9b00dbd8"),
        ("f" * 32, "f" * 16, "408f276d41c83b0ea20bc7c66d5451fd"),
        (
            "243f6a8885a308d313198a2e03707344",
            "a4093822299f31d0",
            "d16cfe0994fdcceb5001e42024126ea1",
        ),
    ],
)
def test_philox_equals_the_known_answers_of_random123(counter, key, words):
    def split(text):
        return [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]

    assert philox(np.array(split(counter), np.uint32), tuple(split(key))).tolist() == split(words)


def test_uniforms_are_uniform_and_depend_on_all_three():
    u = uniforms(7, 3, range(N), 10)
    assert u.min() >= 0
    assert u.max() < 1
    assert np.abs(u.mean(0) - 0.5).max() < 5 * 12**-0.5 * N**-0.5
    assert np.abs(np.corrcoef(u.T) - np.eye(10)).max() < 5 * N**-0.5
    for other in (uniforms(8, 3, range(N), 10), uniforms(7, 4, range(N), 10)):
        assert (u == other).mean() < 0.001
    np.testing.assert_array_equal(uniforms(7, 3, [5, 2], 10), u[[5, 2]])
    assert (uniforms(2**40 + 7, 3, range(9), 10) != u[:9]).all()


def frames(events, warps, size=(5, 7), steps=1, sensor=(7, 5, 2)):
    packed, _ = pack(events, sensor, "r")
    span = np.full(len(warps), packed[-1] >> np.uint64(32), np.int64)
    start = np.zeros_like(span)
    return Binning(steps, size=size).bin([packed] * len(warps), start, span, sensor, warps)


def draw(augment, count=N, size=(5, 7), epoch=0):
    return augment.draw(0, epoch, range(count), size)


def test_nothing_asked_for_changes_nothing(make_events):
    events = make_events(200)
    augmented = frames(events, draw(Augment(), 3), steps=4)
    plain = to_frames(events, (7, 5, 2), Binning(4))
    for b in range(3):
        assert torch.equal(augmented[:, b], plain)


def test_flip_mirrors_columns_and_twice_is_identity(make_events):
    events = make_events(200)
    plain = frames(events, draw(Augment(), 1))
    flipped = frames(events, draw(Augment(flip=1.0), 1))
    assert torch.equal(flipped, plain.flip(-1))
    mirrored = events.copy()
    mirrored["x"] = 6 - events["x"]
    assert torch.equal(frames(mirrored, draw(Augment(flip=1.0), 1)), plain)
    assert abs(draw(Augment(flip=0.3))["flip"].mean() - 0.3) < 5 * 0.5 * N**-0.5


def test_roll_equals_torch_roll(make_events):
    events = make_events(300)
    warps = draw(Augment(roll=3), 50)
    plain = frames(events, draw(Augment(), 1))[:, 0]
    rolled = frames(events, warps)
    for b, (columns, rows) in enumerate(warps["roll"].tolist()):
        assert torch.equal(rolled[:, b], plain.roll((rows, columns), dims=(-2, -1)))
    shifts = draw(Augment(roll=3))["roll"]
    assert set(shifts.ravel().tolist()) == set(range(-3, 4))


def test_translate_moves_and_drops_what_leaves(make_events):
    events = make_events(300)
    warps = draw(Augment(translate=2), 50)
    plain = frames(events, draw(Augment(), 1))[0, 0].numpy()
    moved = frames(events, warps)[0].numpy()
    for b in range(50):
        columns, rows = warps["affine"][b, [2, 5]].astype(int)
        padded = np.pad(plain, ((0, 0), (2, 2), (2, 2)))
        expected = padded[:, 2 - rows : 7 - rows, 2 - columns : 9 - columns]
        np.testing.assert_array_equal(moved[b], expected)


def test_quarter_turns_equal_rot90(make_events):
    events = make_events(300, size=(6, 6))
    warps = draw(Augment(), 3)
    for b, (cos, sin) in enumerate([(0, 1), (-1, 0), (0, -1)]):
        warps["affine"][b, [0, 1, 3, 4]] = [cos, -sin, sin, cos]
    plain = frames(events, draw(Augment(), 1), (6, 6), sensor=(6, 6, 2))[:, 0]
    turned = frames(events, warps, (6, 6), sensor=(6, 6, 2))
    for b in range(3):
        # rows count downwards, so a positive angle turns clockwise
        assert torch.equal(turned[:, b], plain.rot90(-(b + 1), dims=(-2, -1)))


def test_angles_and_scales_stay_in_range_and_reach_it():
    a = draw(Augment(rotate=30.0))["affine"]
    angle = np.rad2deg(np.arctan2(a[:, 3], a[:, 0]))
    assert 29.5 < np.abs(angle).max() <= 30
    assert abs(angle.mean()) < 5 * 30 * 3**-0.5 * N**-0.5
    np.testing.assert_allclose(a[:, 0] * a[:, 4] - a[:, 1] * a[:, 3], 1)
    a = draw(Augment(shear=20.0))["affine"]
    assert 19.5 < np.rad2deg(np.abs(np.arctan(a[:, 1]))).max() <= 20
    assert (a[:, 3] == 0).all()
    a = draw(Augment(scale=0.2))["affine"]
    assert a[:, 0].min() >= 0.8
    assert 1.195 < a[:, 0].max() <= 1.2


def test_small_rotation_keeps_the_middle_and_loses_only_corners(make_events):
    events = make_events(3000, size=(34, 34))
    sensor = (34, 34, 2)
    rotated = frames(events, draw(Augment(rotate=10.0), 20, (34, 34)), (34, 34), sensor=sensor)
    far = np.hypot(events["x"] - 16.5, events["y"] - 16.5)
    kept = rotated.sum((0, 2, 3, 4)).numpy()
    assert (kept >= (far < 16).sum()).all()
    assert (kept <= 3000).all()
    assert len(np.unique(kept)) > 1


def test_cutout_empties_a_square_and_nothing_else(make_events):
    events = make_events(5000, size=(20, 20))
    warps = draw(Augment(cutout=6), 200, (20, 20))
    plain = frames(events, draw(Augment(), 1), (20, 20), sensor=(20, 20, 2))[0, 0].sum(0)
    assert (plain > 0).all()
    for b, image in enumerate(frames(events, warps, (20, 20), sensor=(20, 20, 2))[0].sum(1)):
        x0, y0, x1, y1 = np.clip(warps["holes"][b, 0], 0, 20)
        expected = plain.clone()
        expected[y0:y1, x0:x1] = 0
        assert torch.equal(image, expected)
    assert (np.diff(warps["holes"][:, 0, [0, 2]]) == 6).all()
    corners = warps["holes"][:, 0, 0]
    assert corners.min() < 0
    assert corners.max() > 14


def test_event_drop_has_four_equal_cases_of_the_published_size(make_events):
    events = make_events(2000, size=(20, 20))
    warps = draw(PRESETS["eventdrop"], N, (20, 20))
    gap, box, rate = warps["gap"], warps["holes"][:, 1], warps["rate"]
    by_time, by_area, at_random = gap[:, 1] > 0, box[:, 2] > 0, rate > 0
    for case in (by_time, by_area, at_random, ~(by_time | by_area | at_random)):
        assert abs(case.mean() - 0.25) < 5 * 0.43 * N**-0.5
    assert not (by_time & by_area | by_time & at_random | by_area & at_random).any()
    tenths = np.arange(1, 10) / 10
    np.testing.assert_allclose(np.unique(np.diff(gap[by_time]).round(6)), tenths)
    assert set(np.diff(box[by_area][:, [0, 2]]).ravel().tolist()) == {1, 2, 3, 4, 5}
    np.testing.assert_allclose(np.unique((rate[at_random] / 2.0**64).round(6)), tenths)

    chosen = np.flatnonzero(at_random)[:200]
    kept = frames(events, warps[chosen], (20, 20), sensor=(20, 20, 2)).sum((0, 2, 3, 4)).numpy()
    share = 1 - rate[chosen] / 2.0**64
    assert np.abs(kept / 2000 - share).max() < 5 * 0.5 * 2000**-0.5

    b = np.flatnonzero(by_time)[0]
    t = events["t"] - events["t"][0]
    last = t[-1]
    low, high = (int(v * last) for v in gap[b])
    expected = ((t < low) | (t >= high)).sum()
    assert frames(events, warps[[b]], (20, 20), sensor=(20, 20, 2)).sum() == expected


def test_all_steps_of_a_sample_move_alike(make_events):
    events = make_events(3000)
    warps = draw(Augment.of("nda"), 20)
    steps = frames(events, warps, steps=6)
    assert torch.equal(steps.sum(0), frames(events, warps)[0])
    # the warped step of an event is that of its plain one, whatever the change
    moved = frames(events[:1500], warps, steps=1)[0]
    assert (moved <= steps.sum(0)).all()


def test_one_of_applies_one_change_each_equally_often():
    warps = draw(Augment(roll=5, rotate=30, shear=30, one_of=True, or_none=True))
    a = warps["affine"]
    rolled = (warps["roll"] != 0).any(1)
    sheared = (a[:, 1] != 0) & (a[:, 3] == 0)
    rotated = a[:, 3] != 0
    assert (rolled.astype(int) + sheared + rotated).max() == 1
    for case, zero in ((rolled, 1 / 121), (sheared, 0), (rotated, 0)):
        assert abs(case.mean() - 0.25 * (1 - zero)) < 5 * 0.43 * N**-0.5


def test_epochs_and_samples_differ_and_repeat():
    augment = Augment(flip=0.5, roll=4, rotate=20, cutout=2, drop=0.5)
    first = draw(augment, 64)
    assert first.tobytes() == draw(augment, 64).tobytes()
    assert augment.draw(0, 0, [9, 3], (5, 7)).tobytes() == first[[9, 3]].tobytes()
    assert (draw(augment, 64, epoch=1)["affine"] != first["affine"]).any(1).mean() > 0.9


def test_from_recipes():
    assert Augment.of(None) is None
    assert Augment.of({"flip": 0.5, "roll": 3}) == Augment(flip=0.5, roll=3)
    assert Augment.of("nda") is PRESETS["nda"]
    with pytest.raises(UserError, match="did you mean 'eventdrop'"):
        Augment.of("event_drop")
    with pytest.raises(UserError, match="augment has no 'rol'; did you mean 'roll'"):
        Augment.of({"rol": 3})


@pytest.mark.parametrize("field", ["flip", "roll", "rotate", "shear", "scale", "cutout", "drop"])
def test_values_out_of_range_are_refused(field):
    with pytest.raises(UserError, match=rf"augment.{field} must be .*, got -1"):
        Augment(**{field: -1})
