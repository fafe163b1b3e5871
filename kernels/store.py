"""Files that are made once: printed texts and compiled kernels."""

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from spikesim.files import cache_folder, write_atomic


def kept(name: str, make: Callable[[], bytes]) -> Path:
    """The file ``name`` in ``$SPIKESIM_CACHE/kernels``, made if it is not there.

    Where that folder cannot be written, the file lies in a folder of this process.
    """
    folder = cache_folder() / "kernels"
    if (folder / name).exists():
        return folder / name
    data = make()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} cannot be written")
        write_atomic(folder / name, data)
    except OSError:
        folder = Path(_own_folder().name)
        (folder / name).write_bytes(data)
    return folder / name


@cache
def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="spikesim-kernels-")
