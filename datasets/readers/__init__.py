"""Readers of event recordings, one file per format, and one call for all."""

from spikesim.datasets.readers.events import Size, make_events
from spikesim.datasets.readers.npz import write_npz
from spikesim.datasets.readers.read import FORMATS, is_recording, read_events

__all__ = [
    "FORMATS",
    "Size",
    "is_recording",
    "make_events",
    "read_events",
    "write_npz",
]
