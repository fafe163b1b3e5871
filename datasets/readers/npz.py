"""Our own exchange file: a NumPy ``.npz`` with columns ``t``, ``x``, ``y``, ``p``."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from spikesim.datasets.pack import check_events
from spikesim.datasets.readers.events import Size, make_events
from spikesim.datasets.source import Events
from spikesim.errors import UserError

FIELDS = ("t", "x", "y", "p")


def write_npz(path: str | Path, events: Events, sensor_size: Size) -> Path:
    """Write events as ``.npz``, compressed and in one step: no half-written file is left.

    Args:
        path: file to write; its folder exists.
        events: ``[N]`` events with the fields ``t`` (us), ``x``, ``y``, ``p``, sorted by ``t``.
        sensor_size: ``(W, H, P)``.

    Raises:
        UserError: events outside the sensor, unsorted, or none at all.

    >>> import tempfile
    >>> events = make_events(t=[0, 5], x=[1, 2], y=[0, 3], p=[1, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_npz(folder + "/a.npz", events, (4, 4, 2))
    ...     back, size = read_npz(path)
    >>> back["x"].tolist(), size
    ([1, 2], (4, 4, 2))
    """
    path = Path(path)
    check_events(events["t"], events["x"], events["y"], sensor_size, path)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        t, x, y, p = (events[name] for name in FIELDS)
        np.savez_compressed(file, t=t, x=x, y=y, p=p, sensor_size=np.array(sensor_size))
    os.replace(part, path)
    return path


def read_npz(path: Path) -> tuple[Events, Size]:
    """Events from arrays ``t``, ``x``, ``y``, ``p``, or from one structured array of them.

    The sensor is the array ``sensor_size`` if there is one, else just holds the events.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{path}: truncated or damaged .npz ({error}); write it again with write_npz"
        ) from None
    columns = find_columns(arrays, path)
    if len({np.shape(column) for column in columns.values()}) != 1 or columns["t"].ndim != 1:
        shapes = ", ".join(f"{name} {list(column.shape)}" for name, column in columns.items())
        raise UserError(f"{path}: t, x, y, p must be four vectors of one length, got {shapes}")
    for name in ("x", "y"):
        column = columns[name]
        if len(column) and not 0 <= column.min() <= column.max() < 2**15:
            raise UserError(
                f"{path}: {name} runs from {column.min()} to {column.max()}; "
                "pixel numbers must lie in 0..32767"
            )
    events = make_events(columns["t"], columns["x"], columns["y"], columns["p"])
    if "sensor_size" in arrays:
        width, height, polarities = (int(n) for n in arrays["sensor_size"])
        return events, (width, height, polarities)
    return events, (int(events["x"].max(initial=0)) + 1, int(events["y"].max(initial=0)) + 1, 2)


def find_columns(arrays: dict[str, Any], path: Path) -> dict[str, Any]:
    """The four columns, as arrays of their own or as fields of the only structured array."""
    if all(name in arrays for name in FIELDS):
        return {name: arrays[name] for name in FIELDS}
    for array in arrays.values():
        if array.dtype.names and set(FIELDS) <= set(array.dtype.names):
            return {name: array[name] for name in FIELDS}
    raise UserError(
        f"{path}: has the arrays {', '.join(arrays) or 'none'}; expected t (us), x, y, p"
    )
