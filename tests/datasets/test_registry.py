"""``load``: names, splits, folds, cuts, and what a trainer asks of a dataset."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from spikesim import datasets
from spikesim.datasets import Augment, Binning, collate, registry, to_frames
from spikesim.datasets.source import fold_numbers
from spikesim.errors import UserError


@pytest.fixture
def load(toy, monkeypatch):
    monkeypatch.setitem(registry._registered, "toy", type(toy))

    def call(split="train", **arguments):
        return datasets.load("toy", split, root=toy.root, **arguments)

    return call


def test_names_and_info(load):
    assert {"nmnist", "toy"} <= set(datasets.names())
    assert list(datasets.names()) == sorted(datasets.names())
    for name in datasets.names():
        info = datasets.info(name)
        assert info.name == name
        assert info.title
        assert len(info.sensor_size) == 3


def test_dataset_holds_what_the_trainer_needs(load, toy):
    d = load(steps=4, size=(3, 4))
    assert (len(d), d.name, d.split, d.steps) == (12, "toy", "train", 4)
    assert (d.classes, d.sensor_size, d.frame_shape) == (("a", "b", "c"), (7, 5, 2), (2, 3, 4))
    assert d.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert d.targets.dtype == torch.int64
    assert d.keys[0] == "train/0-00.npy"
    assert d.counts.tolist() == [len(toy.read(r)) for r in toy.recordings("train")]
    assert "12 samples" in repr(d)


def test_batch_equals_single_samples_and_the_recordings(load, toy):
    d = load(steps=5, binning="count")
    x, y = d.__getitems__([7, 0, 7])
    assert x.shape == (5, 3, 2, 5, 7)
    assert x.dtype == torch.float32
    assert y.tolist() == [1, 0, 1]
    for b, i in enumerate([7, 0, 7]):
        frames, label = d[i]
        assert torch.equal(x[:, b], frames)
        assert label == y[b]
        events = toy.read(toy.recordings("train")[i])
        assert torch.equal(frames, to_frames(events, (7, 5, 2), Binning(5, "count")))
        np.testing.assert_array_equal(d.events(i)["x"], events["x"])
        assert d.events(i)["t"][0] == 0
    assert len(list(d)) == 12
    with pytest.raises(IndexError):
        d[12]
    assert torch.equal(d[-1][0], d[11][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_gives_the_same_batches_with_and_without_workers(load, workers):
    d = load(steps=3, augment="nda", seed=5)
    loader = DataLoader(
        d, 5, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0
    )
    for epoch in (3, 4):
        d.set_epoch(epoch)
        for batch, (x, y) in enumerate(loader):
            indices = list(range(5 * batch, min(5 * batch + 5, 12)))
            expected, labels = d.__getitems__(indices)
            assert torch.equal(x, expected)
            assert torch.equal(y, labels)
    first, _ = d.__getitems__([0, 1, 2])
    d.set_epoch(3)
    assert not torch.equal(first, d.__getitems__([0, 1, 2])[0])


def test_batch_depends_on_seed_epoch_and_sample_alone(load):
    augment = Augment(flip=0.5, roll=2, rotate=40)
    d = load(augment=augment)
    x, _ = d.__getitems__([4, 9])
    part = d.subset([9, 4, 1])
    assert torch.equal(part.__getitems__([1, 0])[0], x)
    assert part.keys == [d.keys[9], d.keys[4], d.keys[1]]
    assert torch.equal(load(augment=augment).__getitems__([4, 9])[0], x)
    assert not torch.equal(load(augment=augment, seed=1).__getitems__([4, 9])[0], x)
    plain = d.without_augmentation()
    assert torch.equal(plain.__getitems__([4])[0], load().__getitems__([4])[0])
    part.set_epoch(6)
    assert d.epoch == 0


def test_subset_of_a_subset_and_of_tensors(load):
    d = load()
    part = d.subset(torch.tensor([3, 5, 8])).subset(np.array([2, 0]))
    assert part.keys == [d.keys[8], d.keys[3]]
    assert torch.equal(part[0][0], d[8][0])
    assert len(d.subset([])) == 0
    with pytest.raises(IndexError):
        d.subset([12])


def test_folds_part_all_recordings_by_class(load):
    everything = set(load("train").keys) | set(load("test").keys)
    tests = [load("test", fold=(k, 3)) for k in range(3)]
    assert sorted(key for d in tests for key in d.keys) == sorted(everything)
    for k, d in enumerate(tests):
        rest = load("train", fold=(k, 3))
        assert not set(rest.keys) & set(d.keys)
        assert len(rest) + len(d) == 18
        assert Counter(d.targets.tolist()) == {0: 2, 1: 2, 2: 2}
    assert load("test", fold=(0, 3)).keys == tests[0].keys


def test_fold_numbers_never_change():
    keys = [f"Train/{i:05d}.bin" for i in range(12)]
    labels = [0] * 6 + [1] * 6
    numbers = fold_numbers(keys, labels, 3)
    assert numbers.tolist() == [0, 1, 2, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    order = np.random.default_rng(0).permutation(12)
    again = fold_numbers([keys[i] for i in order], [labels[i] for i in order], 3)
    np.testing.assert_array_equal(again, numbers[order])
    with pytest.raises(ValueError, match="unique"):
        fold_numbers(["a", "a"], [0, 0], 2)


def test_cuts_are_windows_of_the_recording(load, toy):
    d = load(cut_us=300, steps=3)
    whole = load()
    recording = toy.read(toy.recordings("train")[0])
    t = recording["t"] - recording["t"][0]
    windows = int(t[-1]) // 300
    assert d.keys[:windows] == [whole.keys[0]] * windows
    assert d.keys[windows] != whole.keys[0]
    for k in range(windows):
        inside = (t >= 300 * k) & (t < 300 * (k + 1))
        assert d.counts[k] == inside.sum()
        np.testing.assert_array_equal(d.events(k)["t"], t[inside] - 300 * k)
        steps = np.minimum((t[inside] - 300 * k) // 100, 2)
        assert d[k][0].sum((1, 2, 3)).tolist() == np.bincount(steps, minlength=3).tolist()
    assert (load(cut_us=300, min_events=25).counts >= 25).all()
    assert 0 < len(load(cut_us=300, min_events=25)) < len(d)


def test_events_representation(load, toy):
    d = load(representation="events")
    events, label = d[2]
    np.testing.assert_array_equal(events, d.events(2))
    assert label == 0
    (first, second), labels = next(iter(DataLoader(d, 2, collate_fn=collate)))
    np.testing.assert_array_equal(first, d.events(0))
    np.testing.assert_array_equal(second, d.events(1))
    assert labels.tolist() == [0, 0]
    flipped = load(representation="events", augment={"flip": 1.0})[2][0]
    np.testing.assert_array_equal(flipped["x"], 6 - events["x"])
    for name in "typ":
        np.testing.assert_array_equal(flipped[name], events[name])


def test_transform_comes_before_binning_and_leaves_packed_files_alone(load, toy):
    tonic = pytest.importorskip("tonic.transforms", reason="tonic is a dependency")
    whole = load(steps=4)
    reads = type(toy).reads
    d = load(steps=4, transform=tonic.RandomFlipLR(sensor_size=(7, 5, 2), p=1.0))
    assert torch.equal(d[3][0], whole[3][0].flip(-1))
    late = load(steps=4, transform=lambda events: events[events["t"] >= 500])
    assert late[3][0][:2].count_nonzero() == 0
    assert type(toy).reads == reads

    def outside(events):
        events["x"] += 3
        return events

    with pytest.raises(UserError, match=r"train/0-00.npy after transform: .* outside"):
        load(transform=outside)[0]


def test_collate_joins_single_samples(load):
    d = load(steps=3)
    x, y = collate([d[0], d[5]])
    assert torch.equal(x, d.__getitems__([0, 5])[0])
    assert y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"split": "tset"}, "toy has no split 'tset'; did you mean 'test'"),
        ({"split": "all", "fold": (0, 5)}, "no split 'all'"),
        ({"fold": (5, 5)}, "0 <= k < n"),
        ({"representation": "voxels"}, "'frames' or 'events'"),
        ({"cut_us": 0}, "cut_us must be"),
        ({"steps": 0}, "steps must be"),
        ({"augment": "ndaa"}, "did you mean 'nda'"),
    ],
)
def test_wrong_requests_are_one_line(load, arguments, words):
    with pytest.raises(UserError, match=words) as error:
        load(**arguments)
    assert "\n" not in str(error.value)


def test_unknown_dataset_names_the_nearest():
    with pytest.raises(UserError, match="no dataset 'nmist'; did you mean 'nmnist'"):
        datasets.load("nmist")


def test_missing_root_says_what_to_do(load, tmp_path):
    with pytest.raises(UserError, match=r"toy: nothing found at .*nowhere; download"):
        datasets.load("toy", root=tmp_path / "nowhere")
