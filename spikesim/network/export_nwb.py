"""Recordings as Neurodata Without Borders, the HDF5 that tools for electrophysiology read.

Written with h5py to the schema of NWB 2; pynwb, which is large, is only needed to check that.
"""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.files import write_atomic
from spikesim.network.export import Recording, Series, spike_trains

NWB_VERSION = "2.6.0"
SECONDS = 1e-3
"""Of a ms: NWB has all times in seconds."""
UNITS = {"mV": ("volts", 1e-3), "Hz": ("Hz", 1.0), "": ("as the neuron documents it", 1.0)}
"""Unit of a series -> unit in the file, and what its numbers are multiplied by to be in it."""


def write_nwb(path: str | Path, recording: Recording, description: str = "spikesim") -> None:
    """Write a recording as NWB; the file is whole or absent.

    Each neuron watched is a row of the table ``units``, with its ``spike_times`` (s), the interval
    in which it was watched, its ``population``, and its number in that, ``neuron``. States,
    rates and weights are a ``TimeSeries`` each in ``acquisition``, named by population and state;
    beside it lies a table of what its columns are.

    Args:
        path: ends in ``.nwb``.
        recording: of :func:`~spikesim.network.export.record`, or from a file.
        description: of the session.

    Raises:
        UserError: another ending.
    """
    import h5py

    path = Path(path)
    if path.suffix != ".nwb":
        raise UserError(f"{path}: name the file .nwb")
    buffer, now = io.BytesIO(), datetime.now(UTC).isoformat()
    with h5py.File(buffer, "w") as file:
        _mark(file, "core", "NWBFile", nwb_version=NWB_VERSION)
        file["identifier"], file["session_description"] = str(uuid4()), description
        file["session_start_time"] = file["timestamps_reference_time"] = now
        file.create_dataset("file_create_date", data=[now], dtype=h5py.string_dtype())
        for name in ("analysis", "general", "processing", "stimulus"):
            file.create_group(name)
        for name in ("presentation", "templates"):
            file["stimulus"].create_group(name)
        acquisition = file.create_group("acquisition")
        for series in recording.series:
            _series(acquisition, series)
        if recording.trains:
            _units(file.create_group("units"), recording)
    write_atomic(path, buffer.getvalue())


def _units(units: Any, recording: Recording) -> None:
    """The table of neurons and their spikes."""
    spikes = [times for group in recording.trains for times in spike_trains(group)]
    watched = [group.neurons.size for group in recording.trains]
    spans = np.array([(group.start, group.stop) for group in recording.trains])
    columns = ("population", "neuron", "spike_times", "obs_intervals")
    _table(units, "Units", "neurons and their spikes", columns, len(spikes))
    names = np.repeat(np.array([group.name for group in recording.trains]), watched)
    _column(units, "population", names, "the population of a neuron")
    numbers = np.concatenate([group.neurons for group in recording.trains])
    _column(units, "neuron", numbers, "the number of a neuron in its population")
    times = np.concatenate([np.zeros(0), *spikes]) * SECONDS
    _column(units, "spike_times", times, "times of spikes, s", resolution=recording.dt * SECONDS)
    _index(units, "spike_times", np.cumsum([train.size for train in spikes]))
    _column(units, "obs_intervals", np.repeat(spans, watched, 0) * SECONDS, "when watched, s")
    _index(units, "obs_intervals", np.arange(1, len(spikes) + 1))


def _series(folder: Any, series: Series) -> None:
    """States or weights over time, with a table of what the columns are; or a rate over time."""
    # A slash would begin a folder.
    name = f"{series.name} {series.what}".replace("/", "_")
    group, count = folder.create_group(name), series.which.size
    about = f"{series.what} of {count} of {series.name}"
    _mark(group, "core", "TimeSeries", description=about, comments="")
    unit, conversion = UNITS[series.unit]
    data = group.create_dataset("data", data=series.values)
    data.attrs.update(unit=unit, conversion=conversion, offset=0.0, resolution=-1.0)
    times = group.create_dataset("timestamps", data=series.times * SECONDS)
    times.attrs.update(unit="seconds", interval=np.int32(1))
    if series.values.ndim == 2:
        table = folder.create_group(f"{name} columns")
        _table(table, "DynamicTable", f"the columns of {name}", ("which",), count)
        _column(table, "which", series.which, "number in the population, or the projection")


def _table(table: Any, kind: str, about: str, columns: tuple[str, ...], rows: int) -> None:
    """An empty table of the schema."""
    namespace = "core" if kind == "Units" else "hdmf-common"
    _mark(table, namespace, kind, description=about, colnames=columns)
    table["id"] = np.arange(rows)
    _mark(table["id"], "hdmf-common", "ElementIdentifiers")


def _column(table: Any, name: str, values: NDArray[Any], about: str, **more: Any) -> None:
    from h5py import string_dtype

    kind = string_dtype() if values.dtype.kind == "U" else values.dtype
    table.create_dataset(name, data=values.astype(kind))
    _mark(table[name], "hdmf-common", "VectorData", description=about, **more)


def _index(table: Any, name: str, ends: NDArray[Any]) -> None:
    """Where the rows of a column end."""
    table[f"{name}_index"] = ends.astype(np.uint64)
    about = f"where the {name} of a row end"
    target = table[name].ref
    _mark(table[f"{name}_index"], "hdmf-common", "VectorIndex", description=about, target=target)


def _mark(item: Any, namespace: str, kind: str, **more: Any) -> None:
    """What makes a group or array one of the schema's types."""
    item.attrs.update(namespace=namespace, neurodata_type=kind, object_id=str(uuid4()), **more)
