"""Spoken words as spikes of a cochlea: HDF5 files written here in the published layout."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from spikesim import datasets
from spikesim.datasets.registry import source_class
from spikesim.datasets.source import Archive
from spikesim.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache", "no_network")


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Two files in the layout of SHD and SSC: float16 seconds and channels, of any length."""
    import h5py

    for number, split in enumerate(("train", "test", "valid")):
        for name in ("shd", "ssc"):
            with h5py.File(tmp_path / f"{name}_{split}.h5", "w") as file:
                times = file.create_dataset("spikes/times", (3,), h5py.vlen_dtype(np.float16))
                units = file.create_dataset("spikes/units", (3,), h5py.vlen_dtype(np.uint16))
                for i in range(3):
                    times[i] = np.array([0.0, 0.25, 0.5][: i + 1], np.float16)
                    units[i] = np.array([699, number, i][: i + 1], np.uint16)
                file["labels"] = np.array([1, 0, 1], np.uint16)
                file["extra/speaker"] = np.array([4, 5, 4], np.uint16)
                file["extra/keys"] = [b"zero", b"null"]
    return tmp_path


@pytest.mark.parametrize("name", ["shd", "ssc"])
def test_heidelberg_spikes_become_events_of_one_row(name: str, spoken: Path) -> None:
    source = source_class(name)(spoken)
    assert source.classes == ("zero", "null")
    recordings = source.recordings("test")
    assert [(r.label, r.group) for r in recordings] == [(1, "4"), (0, "5"), (1, "4")]
    events = source.read(recordings[2])
    assert events["t"].tolist() == [0, 250_000, 500_000]
    assert events["x"].tolist() == [699, 1, 2]
    for split in source.info.splits:
        frames, label = datasets.load(name, split, root=spoken, steps=4)[2]
        assert frames.shape == (4, 1, 1, 700)
        assert frames.sum() == 3
        assert label == 1


def test_a_truncated_hdf5_file_is_named(spoken: Path) -> None:
    path = spoken / "shd_train.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"shd_train\.h5: truncated or damaged HDF5"):
        source_class("shd")(spoken).recordings("train")


def test_ntidigits_gives_single_digits_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    path = tmp_path / "n-tidigits.hdf5"
    with h5py.File(path, "w") as file:
        for split, names in (("train", ["m-ab-1", "m-ab-o", "m-ab-1z3"]), ("test", ["w-cd-z"])):
            file[f"{split}_labels"] = np.array(names, "S")
            for name in names:
                file[f"{split}_addresses/{name}"] = np.array([63, 0, 5])
                file[f"{split}_timestamps/{name}"] = np.array([0.5, 0.25, 0.75])
    archive = Archive(path.name, "", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr("spikesim.datasets.sources.ntidigits.FILE", archive)
    source = source_class("ntidigits")(tmp_path)
    train = source.recordings("train")
    assert [(r.key, r.label, r.group) for r in train] == [
        ("train/m-ab-1", 1, "m-ab"),
        ("train/m-ab-o", 0, "m-ab"),
    ]
    assert [r.label for r in source.recordings("test")] == [10]
    events = source.read(train[0])
    assert events["t"].tolist() == [250_000, 500_000, 750_000]
    assert events["x"].tolist() == [0, 63, 5]
