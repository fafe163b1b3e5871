"""The ``.bin`` files of N-MNIST and N-Caltech101: five bytes an event, read by Tonic."""

from pathlib import Path

import numpy as np

from spikesim.datasets.readers.events import ATIS_GEN1, Size, make_events, smallest
from spikesim.datasets.source import Events
from spikesim.errors import UserError

EVENT_BYTES = 5
ARRAYS = ((34, 34), (240, 180), ATIS_GEN1)
"""N-MNIST, N-Caltech101, and the whole sensor both were recorded with."""


def read_atis_bin(path: Path) -> tuple[Events, Size]:
    """Events of one file; the sensor is the smallest of :data:`ARRAYS` that holds them."""
    size = path.stat().st_size
    if size % EVENT_BYTES:
        raise UserError(
            f"{path}: truncated: {size} bytes are no multiple of {EVENT_BYTES}; "
            "copy or download the file again"
        )
    from tonic.io import read_mnist_file

    raw = read_mnist_file(
        str(path), dtype=np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])
    )
    events = make_events(raw["t"], raw["x"], raw["y"], raw["p"])
    return events, smallest(ARRAYS, events)
