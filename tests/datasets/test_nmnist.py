"""The embedded recordings and other places where N-MNIST may lie."""

import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesim import datasets
from spikesim.datasets.sources.nmnist import EMBEDDED, NMNIST
from spikesim.errors import UserError

SHA256 = "381a9e20b509e1c67a4ae4e3e4f2be5b6dc750604dcbf3ec23bbb75869d1eadf"
PER_CLASS = {
    "train": [97, 116, 99, 93, 105, 92, 94, 117, 87, 100],
    "test": [8, 14, 8, 11, 14, 7, 10, 15, 2, 11],
}


def test_embedded_archive_is_the_published_one_with_its_attribution():
    assert sha256(EMBEDDED.read_bytes()).hexdigest() == SHA256
    assert EMBEDDED.stat().st_size < 19e6
    attribution = (EMBEDDED.parent / "ATTRIBUTION.md").read_text()
    for words in (SHA256, "CC BY-SA 4.0", "Orchard", "18,290,047"):
        assert words in attribution


@pytest.mark.parametrize(("split", "count"), [("train", 1000), ("test", 100)])
def test_embedded_recordings(split, count):
    d = datasets.load("nmnist", split)
    assert len(d) == count
    assert d.classes == tuple("0123456789")
    assert np.bincount(d.targets).tolist() == PER_CLASS[split]
    assert d.sensor_size == (34, 34, 2)
    assert all(f"/{label}/" in key for key, label in zip(d.keys, d.targets.tolist(), strict=True))


def test_events_are_those_of_tonic_and_of_the_format(tmp_path):
    io = pytest.importorskip("tonic.io", reason="tonic is a dependency")
    d = datasets.load("nmnist", "test")
    with zipfile.ZipFile(EMBEDDED) as archive:
        for i in (0, 37, 99):
            data = archive.read(f"NMNIST/{d.keys[i]}")
            path = tmp_path / f"{i}.bin"
            path.write_bytes(data)
            events = d.events(i)
            raw = np.frombuffer(data, np.uint8).astype(np.int64).reshape(-1, 5)
            time = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
            np.testing.assert_array_equal(events["t"], time - time[0])
            dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
            theirs = io.read_mnist_file(str(path), dtype=dtype)
            for name in "xyp":
                np.testing.assert_array_equal(events[name], theirs[name])


def test_folds_of_the_1100_are_stratified():
    seen = Counter()
    for k in range(5):
        d = datasets.load("nmnist", "test", fold=(k, 5))
        seen.update(d.keys)
        share = np.bincount(d.targets) / np.add(PER_CLASS["train"], PER_CLASS["test"])
        assert np.abs(share - 0.2).max() < 0.012
        assert 215 <= len(d) <= 225
    assert len(seen) == 1100
    assert set(seen.values()) == {1}


@pytest.fixture
def folder(tmp_path):
    """Tonic's layout with digits 3 and 7 only."""
    root = tmp_path / "data"
    with zipfile.ZipFile(EMBEDDED) as archive:
        for name in archive.namelist():
            _, _, digit, _ = name.split("/")
            if digit in "37" and "/Test/" in name:
                archive.extract(name, root)
                train = root / name.replace("Test", "Train")
                train.parent.mkdir(parents=True, exist_ok=True)
                train.write_bytes((root / name).read_bytes())
    return root


def archived(folder: Path, kind: str) -> Path:
    import shutil

    base = folder.parent / "some digits"
    return Path(shutil.make_archive(str(base), kind, folder))


@pytest.mark.parametrize("kind", ["tonic", "inside", "zip", "gztar", "xztar"])
def test_any_layout_gives_the_same_digits(folder, kind):
    root = {"tonic": folder, "inside": folder / "NMNIST"}.get(kind) or archived(folder, kind)
    d = datasets.load("nmnist", "test", root=root)
    assert d.classes == ("3", "7")
    assert np.bincount(d.targets).tolist() == [11, 15]
    embedded = datasets.load("nmnist", "test")
    assert torch.equal(d[0][0], embedded[embedded.keys.index(d.keys[0])][0])


def test_truncated_file_is_named(folder):
    path = sorted((folder / "NMNIST" / "Test" / "3").iterdir())[2]
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(
        UserError, match=rf"{path}: truncated: \d+ bytes are no multiple of 5"
    ) as error:
        datasets.load("nmnist", "test", root=folder)
    assert "\n" not in str(error.value)


def test_event_outside_the_sensor_is_named(folder):
    path = sorted((folder / "NMNIST" / "Test" / "3").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[50] = 34
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"Test/3/{path.name}: 1 of .* event 10 at x=34"):
        datasets.load("nmnist", "test", root=folder)


def test_unsorted_file_is_named(folder):
    path = sorted((folder / "NMNIST" / "Test" / "7").iterdir())[0]
    data = path.read_bytes()
    path.write_bytes(data[500:] + data[:500])
    with pytest.raises(UserError, match=rf"Test/7/{path.name}: time runs backwards"):
        datasets.load("nmnist", "test", root=folder)


def test_empty_file_is_named(folder):
    path = sorted((folder / "NMNIST" / "Test" / "7").iterdir())[1]
    path.write_bytes(b"")
    with pytest.raises(UserError, match=rf"Test/7/{path.name}: no events in it"):
        datasets.load("nmnist", "test", root=folder)


def test_embedded_recordings_are_the_default_whatever_else_is_there(folder, monkeypatch):
    (folder / "NMNIST").rename(folder / "nmnist")
    monkeypatch.setenv("SPIKESIM_DATA", str(folder))
    assert len(datasets.load("nmnist", "test")) == 100
    assert len(datasets.load("nmnist", "test", root=folder / "nmnist")) == 26


def test_missing_folder_and_foreign_folder_and_broken_archive(tmp_path):
    for root in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match=r"nmnist: nothing found at .*garrickorchard"):
            datasets.load("nmnist", root=root)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(EMBEDDED.read_bytes()[:100_000])
    words = r"broken.zip: damaged or no archive .*; get it again"
    with pytest.raises(UserError, match=words) as error:
        datasets.load("nmnist", root=broken)
    assert "\n" not in str(error.value)


def test_wrong_official_archive_names_both_checksums(tmp_path):
    (tmp_path / "train.zip").write_bytes(b"not the archive")
    with pytest.raises(UserError, match="20959b8e626244a1b502305a9e6e2031"):
        NMNIST(tmp_path).recordings("train")


@pytest.mark.data
def test_four_digits(data_root):
    d = datasets.load("nmnist", root=data_root / "nmnist" / "nmnist_6789_4000_1000.tar.xz")
    assert d.classes == tuple("6789")
    assert np.bincount(d.targets).tolist() == [1000] * 4
    assert d.counts.min() > 500
