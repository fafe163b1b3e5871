"""Recordings as ``.npz``: written whole or not at all, and checked when they are read.

``index`` and ``time_ms`` are the spikes of all groups by time, readable without spikesim; the rest
says whose they are.
"""

import io
import zipfile
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.files import write_atomic
from spikesim.network.export import Recording, Series, Trains

FORMAT, VERSION = "spikesim recording", 1
Arrays: TypeAlias = dict[str, NDArray[Any]]
SERIES = ("which", "times", "values")


def save(path: str | Path, recording: Recording) -> None:
    """Write a recording; a reader sees the old or the new file, never a part.

    Arrays of the file:
        index, time_ms: of all spikes by time; neurons are counted through all groups.
        groups, sizes: names of the groups and their numbers of neurons, ``[groups]``.
        watched, counts: neurons watched, one group after the other, and how many of each.
        start_ms, stop_ms: from when to when, ``[groups]``.
        dt_ms, format, version: of the recording; name and version of this schema.
        series, series0_which, series0_times, series0_values: name, what and unit of states, rates
            and weights, ``[series, 3]``, and the arrays of each.

    Raises:
        UserError: the name does not end in ``.npz``.
    """
    path, trains = Path(path), recording.trains
    if path.suffix != ".npz":
        raise UserError(f"{path}: name the file .npz")
    index, times = recording.merged()
    arrays: Arrays = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "dt_ms": np.array(recording.dt),
        "index": index,
        "time_ms": times,
        "groups": np.array([train.name for train in trains], np.str_),
        "sizes": np.array([train.size for train in trains], np.int64),
        "watched": np.concatenate([np.zeros(0, np.int32), *(train.neurons for train in trains)]),
        "counts": np.array([train.neurons.size for train in trains], np.int64),
        "start_ms": np.array([train.start for train in trains]),
        "stop_ms": np.array([train.stop for train in trains]),
        "series": np.array([(s.name, s.what, s.unit) for s in recording.series], np.str_),
    }
    for number, series in enumerate(recording.series):
        arrays |= {f"series{number}_{key}": getattr(series, key) for key in SERIES}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    write_atomic(path, file.getvalue())


def load(path: str | Path) -> Recording:
    """Read what :func:`save` wrote.

    Raises:
        UserError: no such file, a truncated or damaged one, one of something else or of a later
            version, or arrays that do not go together.
    """
    arrays = _read(Path(path))
    if str(arrays.get("format")) != FORMAT:
        raise UserError(f"{path}: is no recording of a network, but holds {', '.join(arrays)}")
    if int(arrays["version"]) != VERSION:
        raise UserError(
            f"{path}: has version {arrays['version']} of the schema, this spikesim reads {VERSION}"
        )
    try:
        return _recording(arrays)
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: is damaged: {error}; write it again") from None


def _read(path: Path) -> Arrays:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("one array alone")
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: truncated, damaged, or no .npz ({error}); write it again"
        ) from None


def _recording(arrays: Arrays) -> Recording:
    index, times, sizes = arrays["index"], arrays["time_ms"], arrays["sizes"]
    names, counts, watched = arrays["groups"], arrays["counts"], arrays["watched"]
    ends = np.cumsum(sizes)
    if index.shape != times.shape or index.ndim != 1:
        raise ValueError(f"{index.shape} indices and {times.shape} times of spikes")
    if index.size and not 0 <= index.min() <= index.max() < sizes.sum():
        raise ValueError(f"indices from {index.min()} to {index.max()} of {sizes.sum()} neurons")
    if counts.sum() != watched.size:
        raise ValueError(f"{watched.size} neurons watched, not {counts.sum()}")
    group = np.searchsorted(ends, index, "right")
    trains = []
    chosen = [watched[a:b] for a, b in pairwise(np.cumsum([0, *counts]))]
    rows = zip(names, sizes, ends, chosen, arrays["start_ms"], arrays["stop_ms"], strict=True)
    for number, (name, size, end, neurons, start, stop) in enumerate(rows):
        own = group == number
        senders = (index[own] - (end - size)).astype(np.int32)
        span = float(start), float(stop)
        trains.append(Trains(str(name), int(size), neurons, senders, times[own], *span))
    series = tuple(
        Series(str(name), str(what), str(unit), *(arrays[f"series{k}_{key}"] for key in SERIES))
        for k, (name, what, unit) in enumerate(arrays["series"])
    )
    return Recording(float(arrays["dt_ms"]), tuple(trains), series)
