"""N-MNIST: handwritten digits on a screen, seen by an ATIS camera in three saccades."""

from functools import cached_property
from pathlib import Path

from spikesim.datasets.download import fetch, verify
from spikesim.datasets.readers import read_events
from spikesim.datasets.source import Archive, DatasetInfo, Events, Recording, Source
from spikesim.datasets.unpacking import unpacked

EMBEDDED = Path(__file__).parent.parent / "embedded" / "nmnist_10class_1000_100.zip"


class NMNIST(Source):
    """N-MNIST (Orchard et al., 2015), read by Tonic's ``read_mnist_file``.

    Without a root: the 1,000 + 100 recordings shipped with the package, whatever
    ``$SPIKESIM_DATA`` holds. A root is a folder with ``Train/<digit>/<number>.bin`` and
    ``Test/...``, directly or under ``NMNIST/`` as Tonic keeps them, or with the published archives
    of these; or it is a zip or tar archive of such a folder. The classes are the digits found.
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

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The folder of digits of each split that is there; archives are unpacked for it."""
        if not self.root.exists():
            raise self.missing()
        base = unpacked(self.root) if self.root.is_file() else self.root
        found = {}
        for split, archive in zip(self.info.splits, self.info.archives, strict=True):
            name = split.capitalize()
            place = next((p for p in (base / name, base / "NMNIST" / name) if p.is_dir()), None)
            if place is None and (base / archive.name).is_file():
                verify(base / archive.name, archive)
                place = unpacked(base / archive.name) / name
            if place is not None:
                found[split] = place
        if not found:
            raise self.missing()
        return found

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The digits that have a folder in either split."""
        folders = [path for top in self.folders.values() for path in top.glob("[0-9]")]
        return tuple(sorted({path.name for path in folders if path.is_dir()}))

    def recordings(self, split: str) -> list[Recording]:
        """The files of a split by digit, then by number."""
        top = self.folders.get(split)
        if top is None:
            return []
        return [
            Recording(f"{top.name}/{digit}/{path.name}", path, label)
            for label, digit in enumerate(self.classes)
            for path in sorted((top / digit).glob("*.bin"))
        ]

    def read(self, recording: Recording) -> Events:
        """The events of a file."""
        return read_events(recording.path, sensor_size=self.sensor_size)[0]

    def prepare(self) -> None:
        """Download what is missing of the whole dataset (1.2 GB) into the root that was given.

        Raises:
            UserError: see :func:`spikesim.datasets.download.fetch`.
        """
        if not self.root.is_file():
            for split, archive in zip(self.info.splits, self.info.archives, strict=True):
                places = (self.root / above / split.capitalize() for above in ("", "NMNIST"))
                if not any(place.is_dir() for place in places):
                    fetch(archive, self.root)


SOURCE = NMNIST
