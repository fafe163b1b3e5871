"""Read one recording, whatever its format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from spikesim.datasets.pack import check_events
from spikesim.datasets.readers.aedat2 import read_aedat2
from spikesim.datasets.readers.aedat4 import read_aedat4
from spikesim.datasets.readers.atis_bin import read_atis_bin
from spikesim.datasets.readers.events import Size
from spikesim.datasets.readers.npz import read_npz
from spikesim.datasets.readers.prophesee import read_prophesee
from spikesim.datasets.source import Events
from spikesim.errors import UserError

Reader = Callable[[Path], tuple[Events, Size]]

FORMATS = {
    ".aedat": "AEDAT 2.0 (DVS128) or AEDAT 4",
    ".aedat4": "AEDAT 4",
    ".raw": "Prophesee EVT 2.0 or EVT 3.0",
    ".dat": "Prophesee DAT",
    ".bin": "N-MNIST and N-Caltech101",
    ".npz": "arrays t, x, y, p (spikesim.datasets.readers.write_npz)",
}
"""What is read, by the end of the file name."""


def read_events(
    path: str | Path, *, sensor_size: Size | None = None, sort: bool = False
) -> tuple[Events, Size]:
    """Events of one recording, and the sensor they come from.

    The format follows from the first bytes of the file, or else from the end of its name:
    see :data:`FORMATS`.

    Args:
        path: the file.
        sensor_size: ``(W, H, P)`` if you know better than the file; a ``.bin`` or a ``.dat``
            names no sensor, and gets the smallest one of its family that holds its events.
        sort: put events in order of time where the file has them out of order.

    Returns:
        ``[N]`` structured events with ``t`` (us), ``x``, ``y``, ``p``, sorted by ``t``, and
        ``(W, H, P)``.

    Raises:
        UserError: no such file, unknown format, truncated or damaged file, events outside the
            sensor, time that runs backwards.
        BackendError: AEDAT 4, and the package ``aedat`` is not installed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "is a folder, not a recording" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {what}; give the path of one recording")
    events, found = reader_for(path)(path)
    if sort:
        events = events[np.argsort(events["t"], kind="stable")]
    size = sensor_size or found
    check_events(events["t"], events["x"], events["y"], size, path)
    return events, size


def is_recording(path: Path) -> bool:
    """Whether the end of the name is one of :data:`FORMATS`."""
    return path.suffix.lower() in FORMATS


def reader_for(path: Path) -> Reader:
    """The reader of this file's format.

    Raises:
        UserError: a format that is not read.
    """
    with path.open("rb") as file:
        head = file.read(16)
    suffix = path.suffix.lower()
    if head.startswith(b"#!AER-DAT"):
        version = head[9:12]
        if version not in (b"2.0", b"4.0"):
            raise UserError(
                f"{path}: AEDAT {version.decode('ascii', 'replace')} is not read; "
                "save it as AEDAT 4 (iniVation DV) or AEDAT 2.0"
            )
        return read_aedat2 if version == b"2.0" else read_aedat4
    if head.startswith(b"%") or suffix in (".raw", ".dat"):
        return read_prophesee
    if suffix == ".npz":
        return read_npz
    if suffix == ".bin":
        return read_atis_bin
    if suffix in FORMATS:
        raise UserError(f"{path}: does not start as {FORMATS[suffix]} does; copy the file again")
    known = ", ".join(f"{end} ({what})" for end, what in FORMATS.items())
    raise UserError(f"{path}: unknown format {suffix or 'without ending'!r}; read are {known}")
