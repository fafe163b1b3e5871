"""Sources over small archives written here in the layout of the published ones."""

import hashlib
import io
import multiprocessing
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim import datasets
from spikesim.datasets import unpacking
from spikesim.datasets.archives import ArchiveSource
from spikesim.datasets.registry import source_class
from spikesim.datasets.source import Source
from spikesim.datasets.unpacking import unpacked
from spikesim.errors import UserError

Small = Callable[..., Source]

pytestmark = pytest.mark.usefixtures("own_cache", "no_network")


@pytest.fixture
def gestures(files: Any) -> dict[str, bytes]:
    # columns x, y, p, t in ms, as preprocessed for Tonic
    def gesture(number: int) -> bytes:
        return files.npy(np.array([[number, 2, 1, 5], [127, 0, 0, 7]]))

    people = {"Train": ("user01", "user02"), "Test": ("user24",)}
    return {
        f"ibmGesture{part}.tar.gz": files.tarred(
            {
                f"ibmGesture{part}/{person}_led/{number}.npy": gesture(number)
                for person in people[part]
                for number in (10, 0, 3)
            }
        )
        for part in people
    }


def test_dvsgesture_is_read_from_its_archives(
    tmp_path: Path, own_cache: Path, small: Small, gestures: dict[str, bytes]
) -> None:
    source = small("dvsgesture", tmp_path / "root", gestures, {"train": 6, "test": 3})
    train = source.recordings("train")
    assert [r.key for r in train[:4]] == [
        "user01_led/0.npy",
        "user01_led/10.npy",
        "user01_led/3.npy",
        "user02_led/0.npy",
    ]
    assert [r.label for r in train] == [0, 10, 3] * 2
    assert {r.group for r in train} == {"user01", "user02"}
    assert {r.group for r in source.recordings("test")} == {"user24"}
    events = source.read(train[1])
    assert events["x"].tolist() == [10, 127]
    assert events["p"].tolist() == [True, False]
    assert events["t"].tolist() == [5000, 7000]
    # nothing is written beside the user's archives
    assert {p.name for p in (tmp_path / "root").iterdir()} == set(gestures)


def test_unpacked_folders_serve_without_archives(
    tmp_path: Path, gestures: dict[str, bytes]
) -> None:
    for content in gestures.values():
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            # as Tonic leaves them
            archive.extractall(tmp_path / "root" / "DVSGesture", filter="data")
    kind = source_class("dvsgesture")
    assert issubclass(kind, ArchiveSource)
    parts = {"train": replace(kind.parts["train"], count=6)}
    source = type("DVSGesture", (kind,), {"parts": parts})(tmp_path / "root")
    assert len(source.recordings("train")) == 6


def test_a_half_unpacked_folder_is_counted(tmp_path: Path, files: Any) -> None:
    folder = tmp_path / "ibmGestureTrain" / "user01_led"
    folder.mkdir(parents=True)
    (folder / "0.npy").write_bytes(files.npy(np.zeros((1, 4), int)))
    with pytest.raises(UserError, match=r"1 of 1077 files.*spikesim datasets prepare dvsgesture"):
        source_class("dvsgesture")(tmp_path).recordings("train")


def test_the_same_recording_twice_is_refused(
    tmp_path: Path, small: Small, gestures: dict[str, bytes]
) -> None:
    source = small("dvsgesture", tmp_path, gestures, {"train": 6})
    content = gestures["ibmGestureTrain.tar.gz"]
    for copy in ("one", "two"):
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(tmp_path / copy, filter="data")
    with pytest.raises(UserError, match="is there twice"):
        source.recordings("train")


def test_a_wrong_archive_gives_both_hashes_and_is_never_unpacked(
    tmp_path: Path, own_cache: Path
) -> None:
    (tmp_path / "ibmGestureTrain.tar.gz").write_bytes(b"")
    empty = hashlib.md5(b"").hexdigest()
    source = source_class("dvsgesture")(tmp_path)
    with pytest.raises(
        UserError, match=f"md5 expected 3a8f0d4120a166bac7591f77409cb105, found {empty}"
    ):
        source.recordings("train")
    assert not (own_cache / "unpacked").exists()


@pytest.mark.parametrize("name", [n for n in datasets.names() if n not in ("folder", "nmnist")])
def test_an_absent_dataset_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        datasets.load(name, root=tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    archives = source_class(name).info.archives
    by_hand = any(not archive.url for archive in archives)
    assert (archives[0].name if by_hand else f"spikesim datasets prepare {name}") in message


@pytest.mark.parametrize("name", datasets.names())
def test_each_dataset_says_what_a_user_must_know(name: str) -> None:
    info = datasets.info(name)
    assert info.name == name
    assert info.title
    assert info.layout
    if name != "folder":
        assert info.licence
        assert info.citation
        assert info.url.startswith("http")
        assert len(info.sensor_size) == 3
        assert all(info.sensor_size)
    for archive in info.archives:
        assert "ndownloader" not in archive.url, "these figshare addresses answer with nothing"
        # what is downloaded by program can be checked
        assert not archive.url or len(archive.md5) == 32
    if not info.official_split:
        # whose split it is, or what it is made of, is said to the user
        assert "split" in info.notes or info.extra_splits


def test_an_archive_may_be_the_root(
    tmp_path: Path, gestures: dict[str, bytes], small: Small
) -> None:
    small("dvsgesture", tmp_path, gestures, {})
    source = small("dvsgesture", tmp_path, gestures, {"train": 6})
    source.root = tmp_path / "ibmGestureTrain.tar.gz"
    assert len(source.recordings("train")) == 6
    with pytest.raises(UserError, match="nothing found"):
        source.recordings("test")


def test_both_kinds_of_files_of_one_dataset_are_refused(tmp_path: Path) -> None:
    for ending in ("aedat", "aedat4"):
        for n in range(2):
            path = tmp_path / ending / "cat" / f"cifar10_cat_{n}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    kind = source_class("cifar10dvs")
    assert issubclass(kind, ArchiveSource)
    parts = {"train": replace(kind.parts["train"], count=4)}
    with pytest.raises(UserError, match="is there twice"):
        type("CIFAR10DVS", (kind,), {"parts": parts})(tmp_path).recordings("train")


@pytest.fixture
def archive(tmp_path: Path, gestures: dict[str, bytes]) -> Path:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gestures["ibmGestureTrain.tar.gz"])
    return path


def test_an_interrupted_unpacking_leaves_nothing(
    archive: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpacked(archive)
    assert not [path for path in (own_cache / "unpacked").iterdir() if path.is_dir()]
    assert len(list(unpacked(archive).rglob("*.npy"))) == 6


def test_unpacking_reports_how_far_it_is(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_read: list[int] = []

    class Report(unpacking.Report):
        def advance(self, count: int = 1) -> None:
            bytes_read.append(count)

    monkeypatch.setattr(unpacking, "Report", Report)
    unpacked(archive)
    assert len(bytes_read) == 6
    assert 0 < sum(bytes_read) <= archive.stat().st_size


def test_what_a_killed_process_left_is_not_taken_for_whole(archive: Path) -> None:
    folder = unpacked(archive)
    part = folder.with_name(f"{folder.name}.part")
    folder.rename(part)
    (part / "stale").touch()
    assert unpacked(archive) == folder
    assert not list(folder.rglob("stale"))
    assert not part.exists()


def test_processes_that_start_together_unpack_once(
    archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extract = unpacking.extract

    def counted(source: Path, folder: Path) -> None:
        with (tmp_path / "log").open("a") as log:
            log.write("once\n")
        extract(source, folder)

    monkeypatch.setattr(unpacking, "extract", counted)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=unpacked, args=(archive,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "once\n"


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz", "other"])
@pytest.mark.parametrize("damage", ["bit", "end"])
def test_a_damaged_archive_is_named(kind: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    noise = np.random.default_rng(0).bytes(20_000)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as written:
            written.writestr("a", noise)
    elif kind == "other":
        path.write_bytes(noise)
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as written:
            member = tarfile.TarInfo("a")
            member.size = len(noise)
            written.addfile(member, io.BytesIO(noise))
    content = bytearray(path.read_bytes())
    if damage == "end":
        del content[-100:]
    else:
        content[10_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=rf"{path}: damaged or no archive .*; get it again"
    ) as found:
        unpacked(path)
    assert "\n" not in str(found.value)


def test_no_member_leaves_the_folder(tmp_path: Path, own_cache: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as written:
        written.addfile(tarfile.TarInfo("../escaped"), io.BytesIO(b""))
    with pytest.raises(UserError, match="damaged or no archive"):
        unpacked(path)
    assert not list(tmp_path.rglob("escaped"))
