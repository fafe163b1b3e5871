"""What each source of camera recordings makes of its published layout."""

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim import datasets
from spikesim.datasets.archives import ArchiveSource, Part
from spikesim.datasets.readers import read_events
from spikesim.datasets.registry import source_class
from spikesim.datasets.source import Source, fold_numbers
from spikesim.datasets.tonic_source import decode
from spikesim.errors import BackendError, UserError

Small = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("own_cache", "no_network")


EVENTS = 6


def aedat2(count: int) -> bytes:
    pairs = [struct.pack(">II", i << 8 | 1, 100 * i) for i in range(count)]
    return b"#!AER-DAT2.0\r\n" + b"".join(pairs)


CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NUMBERS = (0, 1, 2, 3, 10, 11, 100, 101, 200, 999)


@pytest.fixture
def cifar(tmp_path: Path, files: Any, small: Small) -> Source:
    archives = {
        f"{name}.zip": files.zipped(
            {f"{name}/cifar10_{name}_{n}.aedat": aedat2(EVENTS) for n in NUMBERS}
        )
        for name in CIFAR
    }
    counts = dict.fromkeys(
        ("train", "test", "train_as_published", "test_as_published"), len(CIFAR) * len(NUMBERS)
    )
    return small("cifar10dvs", tmp_path / "root", archives, counts)


def test_cifar10dvs_splits_are_complete_and_apart(cifar: Source) -> None:
    train = {r.key for r in cifar.recordings("train")}
    test = {r.key for r in cifar.recordings("test")}
    assert not train & test
    assert train | test == {f"{name}/{n}" for name in CIFAR for n in NUMBERS}
    assert len(test) == len(CIFAR)  # one of ten in each class
    events = cifar.read(cifar.recordings("test")[0])
    assert events["t"].tolist() == [100 * i for i in range(EVENTS)]
    assert events["y"].tolist() == [127 - i for i in range(EVENTS)]


def test_cifar10dvs_as_published_is_the_first_files_by_name(
    cifar: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikesim.datasets.sources.cifar10dvs.TRAIN_AS_PUBLISHED", 7)
    train = cifar.recordings("train_as_published")
    assert [r.key for r in train[:7]] == [f"airplane/{n}" for n in (0, 1, 10, 100, 101, 11, 2)]
    assert {r.key for r in cifar.recordings("test_as_published")} == {
        f"{name}/{n}" for name in CIFAR for n in (200, 3, 999)
    }


def test_cifar10dvs_published_list_is_the_split(cifar: Source) -> None:
    folder = Path(datasets.__file__).parent / "splits"
    listed = (folder / "cifar10dvs_test.txt").read_bytes()
    assert hashlib.sha256(listed).hexdigest() in (folder / "README.md").read_text()
    keys = [f"{name}/{n}" for name in CIFAR for n in range(1000)]
    parts = fold_numbers(keys, [CIFAR.index(key.split("/")[0]) for key in keys], 10)
    in_test = [key for key, part in zip(keys, parts, strict=True) if part == 0]
    assert listed.decode().split() == in_test
    assert [sum(key.startswith(f"{name}/") for key in in_test) for name in CIFAR] == [100] * 10


def test_cifar10dvs_copies_in_aedat4_go_through_tonic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = source_class("cifar10dvs")
    for name in CIFAR:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"cifar10_{name}_7.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    assert issubclass(kind, ArchiveSource)
    parts = {"test": replace(kind.parts["test"], count=10)}
    source = type("CIFAR10DVS", (kind,), {"parts": parts})(tmp_path)
    record = np.zeros(2, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), np.bool_)])
    record["x"] = [3, 4]
    recordings = source.recordings("test")
    monkeypatch.setattr("spikesim.datasets.readers.aedat4.require_aedat", lambda: None)
    monkeypatch.setattr("tonic.datasets.cifar10dvs.read_aedat4", lambda path: record)
    assert source.read(recordings[0])["x"].tolist() == [3, 4]
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "aedat", None)
    with pytest.raises(BackendError, match="pip install aedat"):
        source.read(recordings[0])


def atis(x: list[int], y: list[int]) -> bytes:
    return b"".join(bytes([a, b, 0x80, 0, i]) for i, (a, b) in enumerate(zip(x, y, strict=True)))


def test_ncaltech101_is_read_from_an_archive_in_an_archive(
    tmp_path: Path, files: Any, small: Small
) -> None:
    members = {
        f"Caltech101/{name}/image_{n:04d}.bin": atis([9, 200], [5, 150])
        for name in ("Faces_easy", "accordion")
        for n in range(10)
    }
    archive = files.zipped(
        {"N-Caltech101-archive/Caltech101.zip": files.zipped(members), "readme": b"x"}
    )
    source = small(
        "ncaltech101",
        tmp_path,
        {"N-Caltech101-archive.zip": archive},
        {"train": 20, "test": 20},
    )
    assert source.classes == ("Faces_easy", "accordion")
    train, test = source.recordings("train"), source.recordings("test")
    assert (len(train), len(test)) == (16, 4)
    assert [r.label for r in test] == [0, 0, 1, 1]
    events = source.read(train[0])
    assert (events["x"].tolist(), events["y"].tolist()) == ([0, 191], [0, 145])


def dat(x: int) -> bytes:
    header = b"% Data file containing N9Chronocam7Event2dE events.\n% Version 2\n\0\x08"
    return header + struct.pack("<IIII", 5, 1 << 28 | 2 << 14 | x, 9, x + 1)


def test_ncars_is_read_from_archives_in_its_archive(
    tmp_path: Path, files: Any, small: Small
) -> None:
    def part(name: str, count: int) -> bytes:
        return files.zipped(
            {
                f"{name}/{label}/obj_{i:06d}_td.dat": dat(i)
                for label in ("cars", "background")
                for i in range(count)
            }
        )

    archive = files.zipped(
        {
            f"Prophesee_Dataset_n_cars/{name}.zip": part(name, count)
            for name, count in (("n-cars_train", 3), ("n-cars_test", 2))
        }
    )
    source = small(
        "ncars", tmp_path, {"Prophesee_Dataset_n_cars.zip": archive}, {"train": 6, "test": 4}
    )
    assert [r.label for r in source.recordings("train")] == [0, 0, 0, 1, 1, 1]
    test = source.recordings("test")
    assert [r.key for r in test][2:] == ["cars/obj_000000_td.dat", "cars/obj_000001_td.dat"]
    assert source.read(test[3])["x"].tolist() == [1, 2]


def test_asldvs_is_read_and_put_upright(tmp_path: Path, files: Any, small: Small) -> None:
    from scipy.io import savemat

    def sign(i: int) -> bytes:
        file = io.BytesIO()
        column = np.arange(3)[:, None]
        savemat(file, {"ts": 10 * column, "x": column + i, "y": column, "pol": column % 2})
        return file.getvalue()

    letters = "abcdefghiklmnopqrstuvwxy"
    inner = files.zipped({f"{c}/{c}_{i:04d}.mat": sign(i) for c in letters for i in range(5)})
    source = small("asldvs", tmp_path, {"ASLDVS.zip": files.zipped({"Yin_1.zip": inner})}, {})
    parts = dict.fromkeys(("train", "test"), Part(120, (".mat",), ("ASLDVS.zip",)))
    source = type("ASLDVS", (type(source),), {"parts": parts})(tmp_path)
    train, test = source.recordings("train"), source.recordings("test")
    assert (len(train), len(test)) == (96, 24)
    assert sorted(r.label for r in test) == list(range(24))
    recording = next(r for r in train + test if r.key == "b/b_0002.mat")
    events = source.read(recording)
    assert events.shape == (3,)
    assert events["x"].tolist() == [2, 3, 4]
    assert events["y"].tolist() == [179, 178, 177]
    assert events["t"].tolist() == [0, 10, 20]


def test_a_damaged_sign_is_named(tmp_path: Path) -> None:
    from scipy.io import savemat

    path, column = tmp_path / "b_0001.mat", np.arange(300)[:, None]
    fields = {"ts": column, "x": column % 200, "y": column % 100, "pol": column % 2}
    savemat(path, fields, do_compression=True)
    content = path.read_bytes()
    for place in (200, 300, len(content) - 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        with pytest.raises(UserError, match=r"b_0001\.mat: damaged"):
            decode("ASLDVS", path, 1)


def test_dvslip_is_read_in_its_official_split(tmp_path: Path, files: Any, small: Small) -> None:
    events = np.zeros(2, [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "<i2")])
    events["t"], events["x"] = [4, 8], [1, 2]
    members = {
        f"DVS-Lip/{part}/{word}/{i}.npy": files.npy(events)
        for part, count in (("train", 3), ("test", 1))
        for word in ("young", "accused")
        for i in range(count)
    }
    source = small(
        "dvslip", tmp_path, {"DVS-Lip.zip": files.zipped(members)}, {"train": 6, "test": 2}
    )
    assert len(source.classes) == 100
    assert [r.label for r in source.recordings("train")] == [0, 0, 0, 99, 99, 99]
    assert [r.key for r in source.recordings("test")] == ["accused/0.npy", "young/0.npy"]
    assert source.read(source.recordings("test")[0])["t"].tolist() == [4, 8]


def test_a_damaged_recording_is_named(tmp_path: Path, files: Any, small: Small) -> None:
    members = {"DVS-Lip/test/young/0.npy": files.npy(np.zeros(4))[:-5]}
    source = small("dvslip", tmp_path, {"DVS-Lip.zip": files.zipped(members)}, {"test": 1})
    with pytest.raises(UserError, match=r"young/0\.npy: damaged"):
        source.read(source.recordings("test")[0])


def objects_archive(folder: Path, *, leave_out: str = "") -> None:
    for session, seconds in (("session_a", 1), ("session_b", 2)):
        (folder / session).mkdir(parents=True)
        for name in ("Caixa", "Caneca", "Estilete", "Lapiseira", "Tesoura", "Mouse"):
            times = range(7, seconds * 1_000_000, 200)
            pairs = b"".join(struct.pack(">II", 1, t) for t in times)
            if f"{session}/{name}" != leave_out:
                (folder / session / f"{name}.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + pairs)


def test_dvs128_objects_are_cut_into_windows_of_each_session(tmp_path: Path) -> None:
    objects_archive(tmp_path)
    sizes = {
        split: len(datasets.load("dvs128_objects", split, root=tmp_path))
        for split in ("train", "test", "train_within", "test_within")
    }
    # a recording that ends 200 us before a second holds four whole windows of 200 ms, not five
    assert sizes == {"train": 45, "test": 20, "train_within": 35, "test_within": 10}
    everything = datasets.load("dvs128_objects", root=tmp_path)
    assert everything.counts.tolist() == [1000] * 45
    assert everything.classes == ("box", "mug", "cutter", "mechanical pencil", "scissors")
    assert everything.targets.bincount().tolist() == [9] * 5
    halves = datasets.load("dvs128_objects", root=tmp_path, cut_us=100_000, min_events=501)
    assert len(halves) == 0


def test_dvs128_objects_without_one_file_names_it(tmp_path: Path) -> None:
    objects_archive(tmp_path, leave_out="session_a/Caneca")
    with pytest.raises(UserError, match=r"lacks session_a/Caneca\.aedat"):
        datasets.load("dvs128_objects", "test", root=tmp_path)


@pytest.mark.data
def test_tonic_decodes_a_real_aedat4_file_as_we_do(data_root: Path) -> None:
    pytest.importorskip("aedat", reason="AEDAT 4 is read by the package aedat")
    path = data_root / "format_samples" / "davis_sample.aedat4"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    theirs = decode("CIFAR10DVS", path, 0)
    ours, _ = read_events(path)
    for field in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(theirs[field], ours[field])


@pytest.mark.data
def test_real_dvs128_objects_have_their_published_windows(data_root: Path) -> None:
    root = data_root / "dvs128_objects"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    train = datasets.load("dvs128_objects", "train", root=root)
    test = datasets.load("dvs128_objects", "test", root=root)
    assert (len(train), len(test)) == (844, 470)
    assert min(train.counts.min(), test.counts.min()) >= 500


@pytest.mark.data
def test_real_pokerdvs_archives_are_read_where_they_lie(data_root: Path) -> None:
    root = data_root / "pokerdvs"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    before = sorted(root.iterdir())
    train = datasets.load("pokerdvs", "train", root=root)
    test = datasets.load("pokerdvs", "test", root=root)
    assert train.targets.bincount().tolist() == [12] * 4
    assert test.targets.bincount().tolist() == [5] * 4
    assert round(train.counts.mean()) == 2991
    assert round(test.counts.mean()) == 3192
    assert train[0][0].shape == (10, 2, 35, 35)
    assert sorted(root.iterdir()) == before
