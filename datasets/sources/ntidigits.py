"""N-TIDIGITS: spoken digits as spikes of a silicon cochlea."""

from typing import Any, ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.download import verify
from spikesim.datasets.hdf5_source import HDF5Source, damaged
from spikesim.datasets.source import Archive, DatasetInfo, Recording

FILE = Archive(
    "n-tidigits.hdf5",
    "https://www.dropbox.com/scl/fi/1x4lxt9yyw25sc3tez8oi/n-tidigits.hdf5"
    "?e=2&rlkey=w8gi5udvib2zqzosusa5tr3wq&dl=1",
    "360a2d11e5429555c9197381cf6b58e0",
)


class NTIDigits(HDF5Source):
    """N-TIDIGITS18 (Anumula et al., 2018), the recordings of single digits, official split."""

    tonic = "NTIDIGITS18"
    info = DatasetInfo(
        name="ntidigits",
        title="N-TIDIGITS18: 11 spoken digits (o, 1 to 9, z), 64-channel silicon cochlea",
        sensor_size=(64, 1, 1),
        classes=("o", *"123456789", "z"),
        licence="see the dataset's page",
        citation=(
            "Anumula, Neil, Delbruck, Liu: Feature representations for neuromorphic audio spike "
            "streams. Frontiers in Neuroscience 12:23 (2018)"
        ),
        url="https://docs.google.com/document/d/1Uxe7GsKKXcy6SlDUX4hoJVAC0-UkH-8kr5UXp0Ndi1M",
        archives=(FILE,),
        layout="n-tidigits.hdf5",
        notes="Recordings of more than one digit are left out.",
    )
    parts: ClassVar[dict[str, Part]] = dict.fromkeys(
        ("train", "test"), Part(1, (FILE.name,), (FILE.name,))
    )

    def arguments(self, split: str) -> dict[str, Any]:
        """Tonic's names."""
        return {"train": split == "train", "single_digits": True}

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split, in the order of the file; ``group`` is the speaker."""
        (path,) = self.files(self.part(split))
        verify(path, FILE)
        try:
            names = self.opened(split, path)._samples
        except (OSError, KeyError) as error:
            raise damaged(path, error) from None
        found = []
        for i, name in enumerate(names):
            speaker, _, digit = name.rpartition("-")
            label = self.classes.index(digit)
            found.append(Recording(f"{split}/{name}", path, label, speaker, (split, i)))
        return found


SOURCE = NTIDigits
