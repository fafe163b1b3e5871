"""Downloads from a server on this machine that breaks in all the ways that servers do."""

import errno
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spikesim.datasets import download
from spikesim.datasets.download import fetch, verify
from spikesim.datasets.source import Archive
from spikesim.errors import UserError

CONTENT = bytes(range(256)) * 2000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``faults`` says what goes wrong with each request, in turn."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[str] = []
        self.ranges: list[str | None] = []

    def archive(self, md5: str = MD5) -> Archive:
        return Archive("a.zip", f"http://127.0.0.1:{self.server_address[1]}/a.zip", md5)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else ""
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and start >= len(CONTENT):
            self.send_error(416)
            return
        if fault == "no ranges":
            start = 0
        body = b"" if fault == "empty" else CONTENT[start:]
        if fault == "slow":
            threading.Event().wait(0.2)
        if fault == "foreign":
            body = b"<html>" + body[6:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SPIKESIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_gets_its_name_when_it_is_whole(server: Server, tmp_path: Path) -> None:
    path = fetch(server.archive(), tmp_path / "root")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "root").iterdir()] == ["a.zip"]
    fetch(server.archive(), tmp_path / "root")
    assert len(server.ranges) == 1


def test_a_connection_cut_half_way_is_continued(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut", "cut"]
    path = fetch(server.archive(), tmp_path)
    half = len(CONTENT) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert path.read_bytes() == CONTENT


def test_an_interrupted_download_continues_the_next_time(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut"] * download.ATTEMPTS
    with pytest.raises(UserError, match=r"are kept in .*a\.zip\.part: run the same command"):
        fetch(server.archive(), tmp_path)
    part = tmp_path / "a.zip.part"
    kept = part.stat().st_size
    assert not (tmp_path / "a.zip").exists()
    assert len(CONTENT) // 2 < kept < len(CONTENT)
    assert part.read_bytes() == CONTENT[:kept]
    server.ranges.clear()
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={kept}-"]
    assert not part.exists()


def test_a_whole_part_file_only_needs_its_name(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    server.faults = ["no ranges"]
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT


def test_a_wrong_archive_names_both_hashes_and_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    server.faults = ["foreign"]
    found = hashlib.md5(b"<html>" + CONTENT[6:]).hexdigest()
    with pytest.raises(UserError, match=f"md5 expected {MD5}, found {found}"):
        fetch(server.archive(), tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    assert fetch(server.archive(), tmp_path / "root").read_bytes() == CONTENT


def test_a_stale_part_of_another_file_is_found_out(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="wrong archive"):
        fetch(server.archive(), tmp_path)
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["empty", "202", "204"])
def test_an_empty_answer_is_no_archive(fault: str, server: Server, tmp_path: Path) -> None:
    server.faults = [fault] * download.ATTEMPTS
    with pytest.raises(UserError, match=r"empty file|answered 20[24] with no file"):
        fetch(server.archive(md5=""), tmp_path / "root")
    assert not (tmp_path / "root" / "a.zip").exists()


def test_a_gone_address_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.faults = ["404"]
    with pytest.raises(UserError, match=r"answered 404.*get a.zip by hand"):
        fetch(server.archive(), tmp_path)
    assert len(server.ranges) == 1


def test_a_busy_server_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.faults = ["503", "500"]
    assert fetch(server.archive(), tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_no_server_at_all_is_one_line(server: Server, tmp_path: Path) -> None:
    # the discard port, where nothing listens
    archive = Archive("a.zip", "http://127.0.0.1:9/a.zip", MD5)
    with pytest.raises(UserError, match=r"broke off 4 times .* nothing has come") as caught:
        fetch(archive, tmp_path)
    assert "\n" not in str(caught.value)
    assert ".part" not in str(caught.value)  # there is none


def test_a_full_disk_is_named_and_what_came_is_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(UserError, match="disk full"):
        fetch(server.archive(), tmp_path)
    assert (tmp_path / "a.zip.part").read_bytes() == CONTENT
    assert not (tmp_path / "a.zip").exists()


def test_a_wrong_file_already_there_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"mine")
    found = hashlib.md5(b"mine").hexdigest()
    with pytest.raises(UserError, match=f"expected {MD5}, found {found}; move it away"):
        fetch(server.archive(), tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == b"mine"
    assert server.ranges == []


def test_who_comes_second_waits_and_downloads_nothing(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.faults = ["cut", "slow"]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, server.archive(), tmp_path / "root") for _ in range(2)]
    assert [one.result().read_bytes() for one in both] == [CONTENT, CONTENT]
    assert len(server.ranges) == 2  # the one that was cut, and its continuation
    assert "waiting for another process that is downloading a.zip" in capfd.readouterr().err


def test_a_root_that_is_a_file_is_a_users_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(UserError, match=r"cannot put a\.zip into .*root: .*another root="):
        fetch(server.archive(), tmp_path / "root")


def test_a_file_is_hashed_once_for_each_of_its_states(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return hashlib.md5(path.read_bytes()).hexdigest()

    monkeypatch.setattr(download, "checksum", counting)
    path = tmp_path / "a.zip"
    path.write_bytes(CONTENT)
    verify(path, server.archive())
    verify(path, server.archive())
    assert len(hashed) == 1
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="wrong or truncated"):
        verify(path, server.archive())
    assert len(hashed) == 2
