"""Datasets of one HDF5 file per split, decoded by Tonic; the two Heidelberg ones are alike."""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from spikesim.datasets.archives import ArchiveSource
from spikesim.datasets.source import Events, Recording
from spikesim.datasets.tonic_source import in_time_order, open_tonic
from spikesim.errors import UserError

CITATION = (
    "Cramer, Stradmann, Schemmel, Zenke: The Heidelberg spiking data sets for the systematic "
    "evaluation of spiking neural networks. IEEE TNNLS 33:2744 (2022)"
)
PAGE = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/"
DOWNLOADS = "https://zenkelab.org/datasets/"


class HDF5Source(ArchiveSource):
    """Recordings of the Tonic class ``tonic``; ``part`` of each is its split and number there."""

    tonic: ClassVar[str]

    def arguments(self, split: str) -> dict[str, Any]:
        """What Tonic's class calls the split."""
        return {"train": split == "train"}

    def opened(self, split: str, path: Path) -> Any:
        """Tonic's dataset of a split, opened once."""
        if split not in self._opened:
            self._opened[split] = open_tonic(self.tonic, path.parent, self.arguments(split))
        return self._opened[split]

    @cached_property
    def _opened(self) -> dict[str, Any]:
        return {}

    def read(self, recording: Recording) -> Events:
        """The spikes of a recording, in order of time."""
        split, i = recording.part
        try:
            events, _ = self.opened(split, recording.path)[i]
        except (OSError, KeyError, RuntimeError) as error:
            raise damaged(recording.path, error) from None
        return in_time_order(events)


class Heidelberg(HDF5Source):
    """A Heidelberg dataset; ``group`` is the speaker."""

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The words, as the file lists them."""
        import h5py

        (path,) = self.files(self.part("test"))
        try:
            with h5py.File(path, "r") as file:
                return tuple(name.decode() for name in file["extra/keys"][()])
        except (OSError, KeyError) as error:
            raise damaged(path, error) from None

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split, in the order of the file."""
        import h5py

        (path,) = self.files(self.part(split))
        try:
            with h5py.File(path, "r") as file:
                labels, speakers = file["labels"][()], file["extra/speaker"][()]
        except (OSError, KeyError) as error:
            raise damaged(path, error) from None
        return [
            Recording(f"{split}/{i:06d}", path, int(label), group=str(speaker), part=(split, i))
            for i, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
        ]


def damaged(path: Path, error: Exception) -> UserError:
    """The error for an HDF5 file that cannot be read."""
    return UserError(f"{path}: truncated or damaged HDF5 file ({error}); unpack or download again")
