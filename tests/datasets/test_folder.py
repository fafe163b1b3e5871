"""Users' own recordings: class folders in any format."""

import os
from pathlib import Path

import numpy as np
import pytest

from spikesim import datasets
from spikesim.datasets.readers import make_events, write_npz
from spikesim.errors import UserError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIM_CACHE", str(tmp_path / "cache"))


def record(path: Path, *, count: int = 10, size: int = 20, step_us: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    i = np.arange(count)
    events = make_events(1_000_000 + step_us * i, i % size, i % size, i % 2)
    write_npz(path, events, (size, size, 2))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("wave", "clap"):
        for n in range(10):
            record(tmp_path / "mine" / name / f"{n}.npz")
    return tmp_path / "mine"


def test_folder_is_split_by_hashed_names_in_each_class(root: Path) -> None:
    train = datasets.load("folder", "train", root=root, steps=4)
    test = datasets.load("folder", "test", root=root, steps=4)
    assert train.classes == ("clap", "wave")
    assert train.targets.bincount().tolist() == [8, 8]
    assert test.targets.bincount().tolist() == [2, 2]
    assert not set(train.keys) & set(test.keys)
    frames, _ = train[0]
    assert frames.shape == (4, 2, 20, 20)
    assert frames.sum() == 10


def test_split_does_not_move_when_a_class_is_added(root: Path) -> None:
    before = set(datasets.load("folder", "test", root=root).keys)
    record(root / "zoom" / "0.npz")
    assert before <= set(datasets.load("folder", "test", root=root).keys)


def test_train_and_test_folders_are_kept(tmp_path: Path) -> None:
    for part, names in (("train", ("a", "b")), ("test", ("b",))):
        for name in names:
            record(tmp_path / part / name / "deep" / "one.npz")
    train = datasets.load("folder", "train", root=tmp_path / "", steps=2)
    test = datasets.load("folder", "test", root=tmp_path, steps=2)
    assert train.keys == ["a/deep/one.npz", "b/deep/one.npz"]
    assert test.targets.tolist() == [1]


def test_only_one_of_train_and_test_is_a_mistake(tmp_path: Path) -> None:
    record(tmp_path / "train" / "a" / "one.npz")
    with pytest.raises(UserError, match="has train/ but not the other"):
        datasets.load("folder", root=tmp_path)


def test_long_recordings_are_cut_into_windows(tmp_path: Path) -> None:
    record(tmp_path / "a" / "long.npz", count=100)  # 9,900 us
    record(tmp_path / "b" / "long.npz", count=100, step_us=300)
    for n in range(4):
        record(tmp_path / "a" / f"{n}.npz")
        record(tmp_path / "b" / f"{n}.npz")
    parts = [
        datasets.load("folder", split, root=tmp_path, cut_us=3000, min_events=20)
        for split in ("train", "test")
    ]
    # 3 whole windows of 30 events in a; b has 10 events in each of 9, too few
    assert sum(len(part) for part in parts) == 3
    events = next(part.events(0) for part in parts if len(part))
    assert len(events) == 30
    assert events["t"][0] == 0


def test_formats_mix_and_the_sensor_holds_them_all(root: Path) -> None:
    record(root / "wave" / "large.npz", size=50)
    (root / "clap" / "notes.txt").write_text("no recording")
    (root / "clap" / "digit.bin").write_bytes(bytes([33, 30, 0x80, 0, 5, 1, 2, 0, 0, 9]))
    parts = [datasets.load("folder", split, root=root) for split in ("train", "test")]
    assert {part.sensor_size for part in parts} == {(50, 50, 2)}
    assert sum(len(part) for part in parts) == 22


def test_sensor_is_looked_for_again_when_a_file_changes(root: Path) -> None:
    assert datasets.load("folder", root=root).sensor_size == (20, 20, 2)
    record(root / "wave" / "0.npz", size=30)
    os.utime(root / "wave" / "0.npz", ns=(1, 1))
    assert datasets.load("folder", root=root).sensor_size == (30, 30, 2)


def test_a_bad_recording_is_named(root: Path) -> None:
    (root / "clap" / "half.bin").write_bytes(b"1234567")
    with pytest.raises(UserError, match=r"half\.bin: truncated: 7 bytes"):
        datasets.load("folder", root=root)


def test_wrong_roots_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give root="):
        datasets.load("folder")
    with pytest.raises(UserError, match="is no folder"):
        datasets.load("folder", root=tmp_path / "nothing")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no class folders with recordings.*\.aedat4"):
        datasets.load("folder", root=tmp_path / "empty")


@pytest.mark.data
def test_real_recordings_of_five_formats_load_together(data_root: Path, tmp_path: Path) -> None:
    samples = data_root / "format_samples"
    if not samples.is_dir():
        pytest.skip(f"{samples} is not there")
    for name, file in (
        ("cars", "ncars_sample_td.dat"),
        ("cars", "ncars_obj_004397_td.dat"),
        ("faces", "ncaltech101_faces_easy_0001.bin"),
        ("hand", "evt3_sample.raw"),
    ):
        (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name / file).symlink_to(samples / file)
    parts = [datasets.load("folder", s, root=tmp_path / "mine", size=32) for s in ("train", "test")]
    assert parts[0].classes == ("cars", "faces", "hand")
    assert parts[0].sensor_size == (1280, 720, 2)
    assert sum(int(part.counts.sum()) for part in parts) == 2_009 + 4_407 + 67_445 + 219_596
