"""N-MNIST: handwritten digits on a screen, seen by an ATIS camera in three saccades."""

from pathlib import Path

from spikesim.datasets.archive_root import unpacked
from spikesim.datasets.download import fetch, verify
from spikesim.datasets.source import (
    Archive,
    DatasetInfo,
    Events,
    Recording,
    Source,
    default_root,
)
from spikesim.datasets.unpacking import unpack
from spikesim.errors import UserError

EMBEDDED = Path(__file__).parent.parent / "embedded" / "nmnist_10class_1000_100.zip"
BYTES_PER_EVENT = 5


class NMNIST(Source):
    """N-MNIST (Orchard et al., 2015), read by Tonic's ``read_mnist_file``.

    Without a root: the 1,000 + 100 recordings shipped with the package. A root is a folder with
    ``Train/<digit>/<number>.bin`` and ``Test/...``, directly or under ``NMNIST/`` as Tonic keeps
    them, or a zip or tar archive of one. The classes are the digits found there.
    """

    info = DatasetInfo(
        name="nmnist",
        title="N-MNIST: 10 handwritten digits, 34 x 34 ATIS recordings of three saccades",
        sensor_size=(34, 34, 2),
        classes=tuple("0123456789"),
        licence="CC BY-SA 4.0",
        citation=(
            "Orchard, Jayawant, Cohen, Thakor: Converting static image datasets to spiking "
            "neuromorphic datasets using saccades. Frontiers in Neuroscience 9:437 (2015)"
        ),
        url="https://www.garrickorchard.com/datasets/n-mnist",
        archives=(
            Archive(
                "train.zip",
                "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
                "39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
                "20959b8e626244a1b502305a9e6e2031",
            ),
            Archive(
                "test.zip",
                "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
                "05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
                "69ca8762b2fe404d9b9bad1103e97832",
            ),
        ),
        layout="Train/<digit>/<number>.bin and Test/<digit>/<number>.bin",
        notes="root=None reads the first 1,000 + 100 recordings, which come with the package.",
    )

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(EMBEDDED if root is None else root)
        self._found: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The digits that have a folder in either split."""
        folder = self._folder()
        digits = {
            p.name for s in ("Train", "Test") for p in (folder / s).glob("[0-9]") if p.is_dir()
        }
        return tuple(sorted(digits))

    def recordings(self, split: str) -> list[Recording]:
        """The files of a split by digit, then by number."""
        part = split.capitalize()
        classes = self.classes
        return [
            Recording(f"{part}/{digit}/{path.name}", path, label)
            for label, digit in enumerate(classes)
            for path in sorted((self._folder() / part / digit).glob("*.bin"))
        ]

    def read(self, recording: Recording) -> Events:
        """The events of a file; a size that is no whole number of events is refused."""
        size = recording.path.stat().st_size
        if size % BYTES_PER_EVENT:
            raise UserError(
                f"{recording.path}: {size} bytes is no multiple of {BYTES_PER_EVENT}, the file is "
                "truncated; copy or download it again"
            )
        from tonic import datasets, io

        events: Events = io.read_mnist_file(str(recording.path), dtype=datasets.NMNIST.dtype)
        return events

    def prepare(self) -> None:
        """Download and unpack the whole dataset (1.2 GB) into ``root``, or the default root.

        Raises:
            UserError: see :func:`spikesim.datasets.download.fetch`.
        """
        if self.root == EMBEDDED:
            self.root = default_root(self.info.name)
        for archive in self.info.archives:
            fetch(archive, self.root)
        self._found = None
        self._folder()

    def _folder(self) -> Path:
        """The folder that holds ``Train`` and ``Test``."""
        if self._found is None:
            if not self.root.exists():
                raise self.missing()
            base = unpacked(self.root) if self.root.is_file() else self.root
            for archive in self.info.archives:
                part = base / archive.name.removesuffix(".zip").capitalize()
                if (base / archive.name).is_file() and not part.is_dir():
                    verify(base / archive.name, archive)
                    unpack(base / archive.name, base)
            for folder in (base, base / "NMNIST"):
                if (folder / "Train").is_dir() or (folder / "Test").is_dir():
                    self._found = folder
                    return folder
            raise self.missing()
        return self._found


SOURCE = NMNIST
