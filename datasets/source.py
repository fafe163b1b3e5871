"""What a dataset has to say about itself: which recordings there are, and how to read one.

Packing, binning, augmentation, splits and batches are written once, above this (``store.py``,
``dataset.py``). A source is one file ``sources/<name>.py`` with one subclass named ``SOURCE``.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.files import cache_folder

Events: TypeAlias = NDArray[np.void]
"""A structured array with the fields of :data:`EVENT_DTYPE`, sorted by ``t``."""

EVENT_DTYPE = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.bool_)])
"""Time in us, column, row (0 at the top), polarity (true: brighter); Tonic's own names."""


@dataclass(frozen=True)
class Archive:
    """A file to download: its name on disk, address, and published md5 checksum."""

    name: str
    url: str
    md5: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before it is opened.

    Attributes:
        name: as given to :func:`spikesim.datasets.load`.
        title: one line for people.
        sensor_size: ``(W, H, P)``: columns, rows, polarities; zeros where the files decide.
        classes: class names in label order; empty where the files decide.
        splits: names of the parts.
        extra_splits: names of other ways to part the same recordings; folds leave them out.
        cut_us: duration of a sample, us, where recordings are cut into samples by default.
        min_events: least events of a sample, by default.
        official_split: whether the publishers made the split; otherwise it is ours, see ``notes``.
        licence: of the recordings.
        citation: author, title, year.
        url: the dataset's page.
        archives: what to download.
        layout: what ``root`` has to hold.
        notes: what a user should know.
    """

    name: str
    title: str
    sensor_size: tuple[int, int, int]
    classes: tuple[str, ...]
    splits: tuple[str, ...] = ("train", "test")
    extra_splits: tuple[str, ...] = ()
    cut_us: int | None = None
    min_events: int = 0
    official_split: bool = True
    licence: str = ""
    citation: str = ""
    url: str = ""
    archives: tuple[Archive, ...] = ()
    layout: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Recording:
    """One labelled recording of a source.

    Attributes:
        key: name that stays the same wherever the data lies, such as ``"Train/3/00042.bin"``.
        path: the file that holds it; several recordings may share one.
        label: index into the classes.
        group: who or what was recorded, for splits that keep groups apart.
        part: which part of the file, where it holds several (a member, an index, a time range).
    """

    key: str
    path: Path
    label: int
    group: str = ""
    part: Any = None


class Source(ABC):
    """A dataset on disk. ``root`` is the user's folder or archive, or the default place.

    ``read`` returns events as they are: what is wrong with them is found while packing, once for
    all sources. A source that changes what ``read`` returns raises its ``version``, so that
    packed files of the old reading are not used.
    """

    info: ClassVar[DatasetInfo]
    version: ClassVar[int] = 1

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root(self.info.name) if root is None else Path(root).expanduser()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.info.classes

    @property
    def sensor_size(self) -> tuple[int, int, int]:
        """``(W, H, P)``."""
        return self.info.sensor_size

    @abstractmethod
    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split, in an order that never changes; reads no events.

        Raises:
            UserError: nothing is there (:meth:`missing`), or what is there is not this dataset.
        """

    @abstractmethod
    def read(self, recording: Recording) -> Events:
        """The events of a recording; any structured array with the fields ``t x y p``."""

    def prepare(self) -> None:
        """Download what is missing; without published archives there is nothing to do."""
        return

    def missing(self) -> UserError:
        """The error for an absent ``root``: what to get, from where, and where to put it."""
        info = self.info
        layout = f" so that it holds {info.layout}" if info.layout else ""
        names = ", ".join(f"{a.name} (md5 {a.md5})" if a.md5 else a.name for a in info.archives)
        cure = f"download it from {info.url} and unpack it there{layout}"
        if names and all(archive.url for archive in info.archives):
            cure = f"run: spikesim datasets prepare {info.name}, or download it from {info.url}"
        elif names:
            cure = f"get {names} from {info.url} by hand and put it there, or unpack it{layout}"
        return UserError(f"{info.name}: nothing found at {self.root}; {cure}; or give root=")


def default_root(name: str) -> Path:
    """``$SPIKESIM_DATA/<name>``, or ``~/.cache/spikesim/data/<name>`` where that is not set."""
    base = os.environ.get("SPIKESIM_DATA")
    return (Path(base).expanduser() if base else cache_folder() / "data") / name


def hashed_split(recordings: Sequence[Recording], split: str, folds: int) -> list[Recording]:
    """Our own split of what has none: ``"test"`` is part 0 of :func:`fold_numbers`."""
    keys, labels = [r.key for r in recordings], [r.label for r in recordings]
    in_test = fold_numbers(keys, labels, folds) == 0
    return [r for r, t in zip(recordings, in_test, strict=True) if t == (split == "test")]


def fold_numbers(keys: Sequence[str], labels: Sequence[int], folds: int) -> NDArray[np.int64]:
    """A fixed stratified partition into ``folds`` parts: the part of each recording.

    Inside each class the recordings are put in the order of the SHA-256 of their keys and dealt
    out in turn, so that the parts depend on names and labels alone: not on the order of
    listing, a random generator, or the machine.
    """
    if len(set(keys)) != len(keys):
        raise ValueError("keys of recordings must be unique")
    parts = np.empty(len(keys), np.int64)
    dealt: dict[int, int] = {}
    for i in sorted(range(len(keys)), key=lambda i: sha256(keys[i].encode()).digest()):
        # classes start at different parts, so that small classes do not all fill part 0
        label = int(labels[i])
        parts[i] = (dealt.get(label, 0) + label) % folds
        dealt[label] = dealt.get(label, 0) + 1
    return parts
