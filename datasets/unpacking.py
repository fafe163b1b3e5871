"""Unpacking archives in one step: an interruption leaves nothing half-unpacked."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from spikesim.errors import UserError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar or zip archive, and zip archives inside it, into ``folder``.

    Everything is unpacked into a hidden folder there first and then renamed: after an
    interruption the next call starts over. Files that are already there stay as they are.

    Raises:
        UserError: a damaged archive, or no room for it.
    """
    staging = folder / f".unpacking-{archive.name}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        extract(archive, staging)
        for inner in sorted(walk(staging, (".zip",))):
            extract(inner, staging)
            inner.unlink()
        merge(staging, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{archive}: damaged archive ({error}); download it again") from None
    except OSError as error:
        raise UserError(
            f"cannot unpack {archive} into {folder}: {error.strerror or error}; make room there, "
            "or give another root="
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def extract(archive: Path, folder: Path) -> None:
    """Write all members of a tar or zip archive into ``folder``; none can leave it."""
    folder.mkdir(exist_ok=True)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


def merge(source: Path, target: Path) -> None:
    """Move what is in ``source`` to ``target``; whole folders at once where they are new."""
    for entry in source.iterdir():
        place = target / entry.name
        if not place.exists():
            os.replace(entry, place)
        elif entry.is_dir():
            merge(entry, place)


def walk(base: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """All files below ``base`` with one of ``endings``; hidden folders hold only copies."""
    for folder, folders, files in os.walk(base):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.endswith(endings) and not name.startswith("."):
                yield Path(folder, name)
