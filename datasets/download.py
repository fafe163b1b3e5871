"""Downloads that end with the right file or none: resumed, checked, and put in place in one step.

The bytes go to ``NAME.part``. An interrupted download continues there the next time; only a whole
file with the published checksum gets its name. Two processes never write to one part file.
"""

import errno
import hashlib
import os
import shutil
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from spikesim.datasets.progress import Report
from spikesim.datasets.source import Archive
from spikesim.errors import UserError
from spikesim.files import cache_folder, locked

CHUNK = 1 << 20
TIMEOUT_S = 60
ATTEMPTS = 4
USER_AGENT = "spikesim"


class BrokenOffError(Exception):
    """The connection ended before the file did; worth another attempt."""


def fetch(archive: Archive, folder: Path) -> Path:
    """The archive as a checked file in ``folder``, downloaded if it is not there yet.

    Args:
        archive: name, address and md5.
        folder: where to put it; made if absent.

    Raises:
        UserError: a file of that name with another checksum (it is left alone); no such address;
            an empty or foreign answer; a connection that broke several times (run it again: it
            continues); a full disk, or a folder that cannot be written.
    """
    target = folder / archive.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot put {archive.name} into {folder}: {error.strerror}; give another root="
        ) from None
    with locked(cache_folder() / "locks" / archive.name, f"downloading {archive.name}"):
        if target.exists():
            verify(target, archive)
        else:
            download(archive, target)
    return target


def download(archive: Archive, target: Path) -> None:
    """Download ``target`` by way of its part file."""
    part = target.with_name(f"{target.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            transfer(archive, part)
            break
        except (BrokenOffError, OSError, HTTPException) as error:
            explain(error, archive, part)
            if attempt + 1 == ATTEMPTS:
                kept = size_of(part)
                state = f"{kept} bytes are kept in {part}" if kept else "nothing has come"
                raise UserError(
                    f"{archive.url}: broke off {ATTEMPTS} times ({error}); {state}: run the same "
                    f"command again to continue, or put the file at {target}"
                ) from None
            time.sleep(0.1 * 4**attempt)
    found = checksum(part)
    if archive.md5 and found != archive.md5:
        part.unlink()
        raise UserError(
            f"{archive.url}: wrong archive: md5 expected {archive.md5}, found {found}; "
            "nothing was kept: try again, or get the file by hand"
        )
    os.replace(part, target)
    remember(target, found)


def transfer(archive: Archive, part: Path) -> None:
    """Append to ``part`` what is missing of the file."""
    start = size_of(part)
    request = urllib.request.Request(archive.url, headers={"User-Agent": USER_AGENT})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            # nothing after `start`: the part is whole, or of another file; its checksum tells
            return
        raise
    with answer:
        resumed = answer.status == 206
        if answer.status not in (200, 206):
            raise UserError(f"{archive.url}: answered {answer.status} with no file; try later")
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            raise BrokenOffError("the server continued at another place")
        done = start if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with (
            part.open("ab" if resumed else "wb") as file,
            Report(f"downloading {archive.name}", total or archive.bytes) as report,
        ):
            report.advance(done)
            while block := answer.read(CHUNK):
                file.write(block)
                done += len(block)
                report.advance(len(block))
            file.flush()
            os.fsync(file.fileno())
    if not done:
        raise UserError(f"{archive.url}: answered with an empty file; get {archive.name} by hand")
    if done < total:
        raise BrokenOffError(f"after {done} of {total} bytes")


def explain(error: Exception, archive: Archive, part: Path) -> None:
    """Raise what another attempt cannot mend: an address that is gone, a disk that is full."""
    if isinstance(error, urllib.error.HTTPError) and error.code < 500:
        raise UserError(
            f"{archive.url}: answered {error.code} {error.reason}; "
            f"get {archive.name} by hand and put it into {part.parent}"
        ) from None
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(part.parent).free
        raise UserError(
            f"{part}: disk full ({free / 1e9:.1f} GB free); make room and run the same command "
            "again: it continues"
        ) from None
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise UserError(f"{part}: {error.strerror}; give a root= that can be written") from None


def verify(path: Path, archive: Archive) -> None:
    """Check a file against the published md5, once for each state of the file.

    Raises:
        UserError: the checksum differs; it names the expected and the found one.
    """
    if not archive.md5:
        return
    found = remembered(path) or checksum(path)
    if found != archive.md5:
        raise UserError(
            f"{path}: wrong or truncated archive: md5 expected {archive.md5}, found {found}; "
            "move it away and run again"
        )
    remember(path, found)


def checksum(path: Path) -> str:
    """The md5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where it does not exist."""
    return path.stat().st_size if path.exists() else 0


def note_of(path: Path) -> Path:
    """Where the checksum of a file is noted, under all that changes when the file does."""
    stat = path.stat()
    state = repr((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    return cache_folder() / "checked" / hashlib.sha256(state.encode()).hexdigest()


def remember(path: Path, md5: str) -> None:
    """Note a checksum, since hashing 8 GB at each start takes too long."""
    try:
        note_of(path).parent.mkdir(parents=True, exist_ok=True)
        note_of(path).write_text(md5)
    except OSError:
        # without a cache the file is hashed again the next time
        return


def remembered(path: Path) -> str | None:
    """The noted checksum, if the file has not changed since."""
    try:
        md5 = note_of(path).read_text()
    except OSError:
        return None
    return md5 if len(md5) == 32 else None
