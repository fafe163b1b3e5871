"""Datasets: one call for all; events are packed once, binned and augmented on the fly."""

from spikesim.datasets.augment import PRESETS, Augment
from spikesim.datasets.dataset import EventDataset, collate
from spikesim.datasets.frames import Binning, to_frames
from spikesim.datasets.registry import info, load, names, register
from spikesim.datasets.series import SeriesDataset, SeriesSource
from spikesim.datasets.source import EVENT_DTYPE, Archive, DatasetInfo, Events, Recording, Source

__all__ = [
    "EVENT_DTYPE",
    "PRESETS",
    "Archive",
    "Augment",
    "Binning",
    "DatasetInfo",
    "EventDataset",
    "Events",
    "Recording",
    "SeriesDataset",
    "SeriesSource",
    "Source",
    "collate",
    "info",
    "load",
    "names",
    "register",
    "to_frames",
]
