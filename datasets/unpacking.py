"""Archives unpacked into the cache, once, whole or not at all."""

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TypeVar

from spikesim.datasets.progress import Report
from spikesim.errors import UserError
from spikesim.files import cache_folder, locked

Member = TypeVar("Member")

DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
)  # fmt: skip
"""What the decoders raise; gzip and bz2 an ``OSError`` without a number besides."""


def unpacked(archive: Path) -> Path:
    """The folder with the content of an archive: zip (by its name's end), or tar of any kind.

    The folder is named by the archive's path, size and time, and gets its name only when it is
    complete, so that an interruption leaves no half of it.

    Raises:
        UserError: a damaged archive or another kind of file, or the disk is full.
    """
    stat = archive.stat()
    mark = sha256(repr((str(archive.resolve()), stat.st_size, stat.st_mtime_ns)).encode())
    folder = cache_folder() / "unpacked" / f"{archive.name}-{mark.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f"{folder.name}.part")
    try:
        with locked(folder.with_name(f"{folder.name}.lock"), f"unpacking {archive.name}"):
            # another process may have unpacked it while this one waited
            if not folder.is_dir():
                # a killed process may have left one
                shutil.rmtree(temporary, ignore_errors=True)
                try:
                    temporary.mkdir()
                    extract(archive, temporary)
                    temporary.rename(folder)
                finally:
                    shutil.rmtree(temporary, ignore_errors=True)
    except DAMAGE as error:
        raise damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:
            raise damaged(archive, error) from error
        raise UserError(
            f"cannot unpack {archive} into {folder.parent}: {error}; "
            "set SPIKESIM_CACHE to a folder with space that can be written"
        ) from error
    return folder


def damaged(archive: Path, error: Exception) -> UserError:
    """The error for an archive that cannot be read to its end."""
    reason = str(error).partition("\n")[0]
    return UserError(f"{archive}: damaged or no archive ({reason}); get it again")


def extract(archive: Path, folder: Path) -> None:
    """Write all members of an archive into ``folder``; none can leave it."""
    with (
        archive.open("rb") as file,
        Report(f"unpacking {archive.name}", archive.stat().st_size) as report,
    ):
        if archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(file) as opened:
                opened.extractall(folder, passed(opened.infolist(), file, report))
            return
        with tarfile.open(fileobj=file) as tar:
            tar.extractall(folder, passed(tar, file, report), filter="data")
            # the checksum of a compressed tar is at its end, where tar itself does not look
            while tar.fileobj is not None and tar.fileobj.read(2**20):
                pass


def passed(members: Iterable[Member], file: BinaryIO, report: Report) -> Iterator[Member]:
    """The members in turn, reporting how far the reading of ``file`` has come."""
    before = 0
    for member in members:
        yield member
        report.advance(file.tell() - before)
        before = file.tell()


def walk(base: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """All files below ``base`` with one of ``endings``; hidden folders hold only copies."""
    for folder, folders, files in os.walk(base):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.endswith(endings) and not name.startswith("."):
                yield Path(folder, name)
