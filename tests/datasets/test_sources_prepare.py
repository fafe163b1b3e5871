"""``prepare``: from a server on this machine to unpacked files, and never half of them."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from spikesim.datasets import unpacking
from spikesim.datasets.archives import ArchiveSource
from spikesim.datasets.source import Archive
from spikesim.datasets.sources.pokerdvs import PokerDVS
from spikesim.datasets.unpacking import unpack
from spikesim.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the address where its files can be downloaded."""
    monkeypatch.setenv("SPIKESIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    folder = tmp_path / "server"
    folder.mkdir()

    def handler(*args: object) -> Quiet:
        return Quiet(*args, directory=str(folder))  # type: ignore[arg-type]

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def pips(path: Path, part: str, suits: tuple[str, ...]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for suit in suits:
            file = io.BytesIO()
            np.save(file, np.array([[0, 1, 2, 1], [9, 34, 34, 0]]))
            member = tarfile.TarInfo(f"pips_{part}/{suit}/0.npy")
            member.size = len(file.getvalue())
            archive.addfile(member, io.BytesIO(file.getvalue()))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def poker(served: tuple[Path, str]) -> type[ArchiveSource]:
    folder, address = served
    archives = []
    for part, suits in (("train", ("cl", "he", "di", "sp")), ("test", ("cl",))):
        name = f"pips_{part}.tar.gz"
        archives.append(Archive(name, address + name, pips(folder / name, part, suits)))
    info = replace(PokerDVS.info, archives=tuple(archives))
    parts = {
        "train": replace(PokerDVS.parts["train"], count=4),
        "test": replace(PokerDVS.parts["test"], count=1),
    }
    return type("PokerDVS", (PokerDVS,), {"info": info, "parts": parts})


def test_prepare_downloads_unpacks_and_needs_no_second_time(
    poker: type[ArchiveSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    poker(root).prepare()
    names = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert names == {
        "pips_train.tar.gz",
        "pips_test.tar.gz",
        "pips_test/cl/0.npy",
        *(f"pips_train/{suit}/0.npy" for suit in ("cl", "he", "di", "sp")),
    }

    def refuse(*args: object) -> None:
        raise AssertionError("downloaded again")

    monkeypatch.setattr("spikesim.datasets.archives.fetch", refuse)
    poker(root).prepare()
    source = poker(root)
    assert [r.label for r in source.recordings("train")] == [0, 2, 1, 3]
    assert source.read(source.recordings("test")[0])["x"].tolist() == [1, 34]


def test_prepare_refuses_a_wrong_archive_and_keeps_nothing(
    poker: type[ArchiveSource], served: tuple[Path, str], tmp_path: Path
) -> None:
    (served[0] / "pips_train.tar.gz").write_bytes(b"<html>sorry</html>")
    found = hashlib.md5(b"<html>sorry</html>").hexdigest()
    with pytest.raises(UserError, match=f"expected {poker.info.archives[0].md5}, found {found}"):
        poker(tmp_path / "root").prepare()
    assert list((tmp_path / "root").iterdir()) == []


def test_prepare_of_what_cannot_be_downloaded_says_what_to_do(
    poker: type[ArchiveSource], tmp_path: Path
) -> None:
    by_hand = replace(poker.info, archives=(Archive("pips_train.tar.gz", "", "0" * 32),))
    source = type("PokerDVS", (poker,), {"info": by_hand})(tmp_path / "root")
    with pytest.raises(UserError, match=r"get pips_train.tar.gz \(md5 0+\) from http.* by hand"):
        source.prepare()


def test_an_interrupted_unpacking_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.tar.gz"
    pips(archive, "train", ("cl", "he"))

    def interrupted(source: Path, target: Path) -> None:
        assert (source / "pips_train/cl/0.npy").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(unpacking, "merge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_unpacking_keeps_files_that_are_there_and_adds_the_others(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    pips(archive, "train", ("cl", "he"))
    mine = tmp_path / "out/pips_train/cl/0.npy"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    unpack(archive, tmp_path / "out")
    assert mine.read_bytes() == b"mine"
    assert (tmp_path / "out/pips_train/he/0.npy").is_file()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_damaged_archive_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", bytes(1000))
        path.write_bytes(path.read_bytes().replace(bytes(100), b"x" * 100, 1))
    else:
        pips(path, "train", ("cl",))
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"damaged archive.*download it again"):
        unpack(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_no_member_leaves_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("../escaped"), io.BytesIO(b""))
    with pytest.raises(UserError, match="damaged archive"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "escaped").exists()
