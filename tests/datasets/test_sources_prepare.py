"""``prepare``: from a server on this machine to recordings that can be read."""

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

from spikesim.datasets.archives import ArchiveSource
from spikesim.datasets.source import Archive
from spikesim.datasets.sources.nmnist import NMNIST
from spikesim.datasets.sources.pokerdvs import PokerDVS
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
    assert {p.name for p in root.iterdir()} == {"pips_train.tar.gz", "pips_test.tar.gz"}
    assert len(list((tmp_path / "cache" / "unpacked").rglob("*.npy"))) == 5

    def refuse(*args: object) -> None:
        raise AssertionError("downloaded or unpacked again")

    monkeypatch.setattr("spikesim.datasets.archives.fetch", refuse)
    monkeypatch.setattr("spikesim.datasets.unpacking.extract", refuse)
    poker(root).prepare()
    source = poker(root)
    assert [r.label for r in source.recordings("train")] == [0, 2, 1, 3]
    assert source.read(source.recordings("test")[0])["x"].tolist() == [1, 34]


def test_prepare_of_nmnist_downloads_into_the_given_root_only(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    archives = []
    for name in ("train", "test"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr(f"{name.capitalize()}/4/00001.bin", bytes([33, 2, 0x80, 0, 5]))
        md5 = hashlib.md5((folder / f"{name}.zip").read_bytes()).hexdigest()
        archives.append(Archive(f"{name}.zip", f"{address}{name}.zip", md5))
    monkeypatch.setattr(NMNIST, "info", replace(NMNIST.info, archives=tuple(archives)))
    NMNIST().prepare()  # the embedded recordings: nothing to do
    source = NMNIST(tmp_path / "root")
    with pytest.raises(UserError, match="nothing found"):
        source.recordings("train")
    source.prepare()
    assert source.classes == ("4",)
    assert [r.key for r in source.recordings("test")] == ["Test/4/00001.bin"]
    assert source.read(source.recordings("train")[0])["x"].tolist() == [33]
    assert {p.name for p in (tmp_path / "root").iterdir()} == {"train.zip", "test.zip"}


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
