"""An archive given as a dataset's root: unpacked once into the cache, whole or not at all."""

import os
import shutil
import tarfile
import zipfile
from hashlib import sha256
from pathlib import Path

from spikesim.datasets.source import cache_folder
from spikesim.datasets.unpacking import extract
from spikesim.errors import UserError


def unpacked(archive: Path) -> Path:
    """The folder with the content of a zip or tar archive.

    The folder is named by the archive's path, size and time, and gets its name only when it is
    complete, so that an interrupted or concurrent unpacking leaves no half of it.

    Raises:
        UserError: the archive is neither zip nor tar, damaged, or the disk is full.
    """
    stat = archive.stat()
    mark = sha256(repr((str(archive.resolve()), stat.st_size, stat.st_mtime_ns)).encode())
    folder = cache_folder() / "unpacked" / f"{archive.name}-{mark.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        extract(archive, temporary)
        try:
            temporary.rename(folder)
        except OSError:
            # another process was first
            if not folder.is_dir():
                raise
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{archive} cannot be unpacked ({reason}); download it again") from error
    except OSError as error:
        raise UserError(
            f"cannot unpack {archive} into {folder.parent}: {error}; "
            "set SPIKESIM_CACHE to a folder with space that can be written"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
