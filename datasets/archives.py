"""Datasets that come as archives: find them, check them, and count what is in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from spikesim.datasets.download import fetch, verify
from spikesim.datasets.source import Archive, Source
from spikesim.datasets.unpacking import unpacked, walk
from spikesim.errors import UserError, nearest


@dataclass(frozen=True)
class Part:
    """The files of one part of a dataset.

    Attributes:
        count: how many there are; fewer found is an error.
        endings: how their names end.
        archives: names of the archives they come from.
        folder: a folder on the way to each of them, ``""`` where none tells the parts apart.
    """

    count: int
    endings: tuple[str, ...]
    archives: tuple[str, ...]
    folder: str = ""


class ArchiveSource(Source):
    """A dataset published as archives.

    ``root`` holds the archives, or what is in them, at any depth (so that Tonic's and other
    libraries' folders serve), or is one of them. Archives are checked, and unpacked into the
    cache when first needed. :meth:`prepare` downloads what is missing; nothing else does.
    """

    parts: ClassVar[dict[str, Part]]

    def part(self, split: str) -> Part:
        """The files of a split.

        Raises:
            UserError: no such split.
        """
        if split not in self.parts:
            known = (*self.info.splits, *self.info.extra_splits)
            raise UserError(f"{self.info.name} has no split {split!r}{nearest(split, known)}")
        return self.parts[split]

    def files(self, part: Part) -> list[Path]:
        """The files of a part, by the last two parts of their names, which tell them apart.

        Raises:
            UserError: nothing there, too few files, the same file twice, or a wrong archive.
        """
        files = self.complete(part) or []
        if not files:
            archives = [a for a in self.info.archives if a.name in part.archives]
            found = [(path, a) for a in archives if (path := self.find(a)) is not None]
            for path, archive in found:
                verify(path, archive)
            files = [file for path, _ in found for file in inside(path, part)]
            files = files or select(self.root, part)
            if not files:
                raise self.missing()
        if len(files) < part.count:
            raise UserError(
                f"{self.info.name}: {len(files)} of {part.count} files in {self.root}; "
                f"bring {', '.join(part.archives)} there, or run: "
                f"spikesim datasets prepare {self.info.name}"
            )
        named = {tail(file): file for file in files}
        if len(named) < len(files):
            twice = next(file for file in files if named[tail(file)] != file)
            raise UserError(
                f"{self.info.name}: {twice} is there twice, also as {named[tail(twice)]}; "
                "remove one copy of the dataset, or give the root of the other"
            )
        return [named[name] for name in sorted(named)]

    def complete(self, part: Part) -> list[Path] | None:
        """The unpacked files of a part in ``root``, if they are all there."""
        files = select(self.root, part)
        return files if len(files) >= part.count else None

    def find(self, archive: Archive) -> Path | None:
        """Where an archive lies, if it does: in ``root``, in a folder there, or as ``root``."""
        places = [self.root / archive.name, *sorted(self.root.glob(f"*/{archive.name}"))]
        if self.root.name == archive.name:
            places.insert(0, self.root)
        return next((place for place in places if place.is_file()), None)

    def prepare(self) -> None:
        """Download the archives that are missing, and check and unpack all.

        Raises:
            UserError: see :func:`spikesim.datasets.download.fetch`; or an archive that has to be
                fetched by hand, with what to do.
        """
        for part in self.parts.values():
            if not self.complete(part):
                for archive in self.info.archives:
                    if archive.name in part.archives and self.find(archive) is None:
                        if not archive.url:
                            raise self.missing()
                        fetch(archive, self.root)
            self.files(part)


def tail(file: Path) -> str:
    """The last two parts of a file's name, without its ending: class or speaker, and recording."""
    return f"{file.parent.name}/{file.stem}"


def inside(archive: Path, part: Part) -> list[Path]:
    """The files of a part in an archive, and in zip archives inside it."""
    folder = unpacked(archive)
    inner = [unpacked(path) for path in sorted(walk(folder, (".zip",)))]
    return [file for place in (folder, *inner) for file in select(place, part)]


def select(base: Path, part: Part) -> list[Path]:
    """The files of a part below ``base``."""
    files = walk(base, part.endings)
    return [f for f in files if not part.folder or part.folder in f.relative_to(base).parts]
