"""Datasets whose recordings are decoded by Tonic's own classes.

Tonic's classes also download, unpack and list; that is done here instead (``archives.py``),
because they accept empty and half-written files, and list them in the order of the disk.
"""

import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spikesim.datasets.archives import ArchiveSource
from spikesim.datasets.source import Events, Recording, hashed_split
from spikesim.errors import UserError

DAMAGE = (ValueError, TypeError, OSError, EOFError, LookupError, RuntimeError, zlib.error)
"""What NumPy, SciPy and Tonic raise for a file that is not what its name says."""


class ClassFolders(ArchiveSource):
    """One file per recording, in one folder per class.

    Where the publishers made no split, there is a :func:`~spikesim.datasets.source.hashed_split`
    into ``folds`` parts.
    """

    folds: ClassVar[int] = 0

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split, in the order of class folder and file name."""
        everything = [self.recording(path) for path in self.files(self.part(split))]
        return hashed_split(everything, split, self.folds) if self.folds else everything

    def recording(self, path: Path) -> Recording:
        """What the name of a file says about it."""
        folder = path.parent.name
        if folder not in self.classes:
            raise UserError(
                f"{self.info.name}: {path} lies in no class folder; keep only the dataset's own "
                "files there"
            )
        return Recording(f"{folder}/{path.name}", path, self.classes.index(folder))


class TonicFiles(ClassFolders):
    """Class folders whose files the Tonic class ``tonic`` decodes."""

    tonic: ClassVar[str]

    def read(self, recording: Recording) -> Events:
        """The events of a recording, in order of time."""
        return decode(self.tonic, recording.path, recording.label)


def decode(name: str, path: Path, label: int, data: Any = None) -> Events:
    """The events of one file, decoded by the Tonic class ``name``, in order of time.

    Args:
        name: of the class.
        path: of the file.
        label: of the recording.
        data: what the class keeps of a file, where that is not its path.

    Raises:
        UserError: a damaged file.
    """
    import numpy.lib.recfunctions  # noqa: F401  # Tonic uses it without importing it
    import tonic.datasets

    kind = getattr(tonic.datasets, name)
    # without __init__, which would look for the whole dataset and download it
    item = kind.__new__(kind)
    item.data, item.targets = [str(path) if data is None else data], [label]
    item.transform = item.target_transform = item.transforms = None
    try:
        events, _ = item[0]
    except DAMAGE as error:
        raise UserError(f"{path}: damaged ({error}); unpack its archive again") from None
    return in_time_order(events)


def in_time_order(decoded: Any) -> Events:
    """Events as one row, sorted by time; equal times keep their order."""
    events: Events = np.asarray(decoded).reshape(-1)
    if (np.diff(events["t"].astype(np.int64)) < 0).any():
        events = events[np.argsort(events["t"], kind="stable")]
    return events


def open_tonic(name: str, folder: Path, arguments: dict[str, Any]) -> Any:
    """A dataset of the Tonic class ``name`` over the verified files in ``folder``.

    Tonic derives the folder from the name of the class, so a subclass with the folder's name
    reads from any folder; this one neither looks for archives nor downloads.
    """
    import tonic.datasets

    members = {"_check_exists": lambda self: True}
    kind = type(folder.name, (getattr(tonic.datasets, name),), members)
    return kind(save_to=str(folder.parent), **arguments)
