"""Your own recordings, in one folder per class."""

from functools import cached_property
from hashlib import sha256
from pathlib import Path

from spikesim.datasets.readers import FORMATS, Size, read_events
from spikesim.datasets.source import (
    DatasetInfo,
    Events,
    Recording,
    Source,
    hashed_split,
)
from spikesim.errors import UserError
from spikesim.files import cache_folder, write_atomic

FOLDS = 5


class Folder(Source):
    """Class folders of recordings in any format that :func:`read_events` reads.

    Either ``root/<class>/<file>``: a fixed split by hashed names, about 80 % train and 20 % test
    in each class. Or ``root/train/<class>/<file>`` and ``root/test/<class>/<file>``. The classes
    are the folders, in the order of their names; the sensor is the smallest that holds all
    recordings. ``load("folder", root=..., cut_us=..., min_events=...)`` cuts long recordings
    into samples.
    """

    info = DatasetInfo(
        name="folder",
        title="Your own recordings: root/<class>/<recording>, any format that is read",
        sensor_size=(0, 0, 0),
        classes=(),
        official_split=False,
        layout="<class>/<recording>, or train/<class>/<recording> and test/<class>/<recording>",
        notes=f"Formats: {', '.join(FORMATS)}. Without train/ and test/: a fixed hashed split.",
    )

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        if root is None:
            raise UserError("folder: give root=, a folder with one folder of recordings per class")
        if not self.root.is_dir():
            raise UserError(f"folder: {self.root} is no folder; root holds one folder per class")

    @cached_property
    def is_split(self) -> bool:
        """Whether there are folders ``train`` and ``test``, rather than classes of these names.

        Raises:
            UserError: only one of the two.
        """
        there = [name for name in ("train", "test") if (self.root / name).is_dir()]
        if len(there) == 1 and any(p.is_dir() for p in (self.root / there[0]).iterdir()):
            raise UserError(f"folder: {self.root} has {there[0]}/ but not the other of train, test")
        return len(there) == 2

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        tops = [self.root / "train", self.root / "test"] if self.is_split else [self.root]
        names = {p.name for top in tops for p in top.iterdir() if p.is_dir() and has_recording(p)}
        if not names:
            raise UserError(
                f"folder: no class folders with recordings in {self.root}; expected "
                f"{self.info.layout}, ending in {', '.join(FORMATS)}"
            )
        return tuple(sorted(names))

    @cached_property
    def sensor_size(self) -> Size:
        """The largest width and height among all recordings, which are read for it once."""
        paths = [r.path for split in self.info.splits for r in self.recordings(split)]
        state = sha256()
        for path in paths:
            stat = path.stat()
            state.update(repr((str(path.resolve()), stat.st_size, stat.st_mtime_ns)).encode())
        memory = cache_folder() / "sensors" / state.hexdigest()
        if memory.is_file():
            width, height, polarities = map(int, memory.read_text().split())
            return width, height, polarities
        sizes = [read_events(path)[1] for path in paths]
        width, height, polarities = (max(size[axis] for size in sizes) for axis in range(3))
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memory, f"{width} {height} {polarities}".encode())
        return width, height, polarities

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split, in the order of class and file name."""
        if self.is_split:
            return self.below(self.root / split)
        return hashed_split(self.below(self.root), split, FOLDS)

    def below(self, top: Path) -> list[Recording]:
        """All recordings in the class folders of ``top``."""
        return [
            Recording(path.relative_to(top).as_posix(), path, label)
            for label, name in enumerate(self.classes)
            for path in recordings_in(top / name)
        ]

    def read(self, recording: Recording) -> Events:
        """The events of a recording."""
        events, _ = read_events(recording.path)
        return events


def recordings_in(folder: Path) -> list[Path]:
    """The files below a folder that end as a recording does, without hidden ones."""
    files = folder.rglob("*")
    return sorted(f for f in files if f.suffix.lower() in FORMATS and f.name[0] != ".")


def has_recording(folder: Path) -> bool:
    """Whether any recording lies below a folder."""
    return folder.name[0] != "." and bool(recordings_in(folder))


SOURCE = Folder
