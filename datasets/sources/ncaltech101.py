"""N-Caltech101: 8,709 Caltech101 images seen by a moving ATIS camera."""

from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.source import Archive, DatasetInfo
from spikesim.datasets.tonic_source import TonicFiles

ARCHIVE = Archive(
    "N-Caltech101-archive.zip",
    "https://data.mendeley.com/public-files/datasets/cy6cvx3ryv/files/"
    "36b5c52a-b49d-4853-addb-a836a8883e49/file_downloaded",
    "66201824eabb0239c7ab992480b50ba3",
)


class NCaltech101(TonicFiles):
    """N-Caltech101 (Orchard et al., 2015); each recording is moved to the corner x = y = 0.

    There is no official split: ``test`` is part 0 of five of
    :func:`~spikesim.datasets.source.fold_numbers` over ``class/file``, about 20 % of each class.
    """

    tonic = "NCALTECH101"
    folds = 5
    info = DatasetInfo(
        name="ncaltech101",
        title="N-Caltech101: 100 object classes and background, up to 240 x 180 ATIS, 300 ms",
        sensor_size=(240, 180, 2),
        classes=(),
        official_split=False,
        licence="CC BY 4.0",
        citation=(
            "Orchard, Jayawant, Cohen, Thakor: Converting static image datasets to spiking "
            "neuromorphic datasets using saccades. Frontiers in Neuroscience 9:437 (2015)"
        ),
        url="https://www.garrickorchard.com/datasets/n-caltech101",
        archives=(ARCHIVE,),
        layout="Caltech101/<class>/image_0001.bin ...",
        notes=(
            "No official split exists: a fixed one by hashed names, 80/20 in each class. Classes "
            "are the folders, BACKGROUND_Google included; Faces is left out by the publishers."
        ),
    )
    parts: ClassVar[dict[str, Part]] = dict.fromkeys(
        ("train", "test"), Part(8709, (".bin",), (ARCHIVE.name,), "Caltech101")
    )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders."""
        if not hasattr(self, "_classes"):
            files = self.files(self.part("train"))
            self._classes = tuple(sorted({file.parent.name for file in files}))
        return self._classes


SOURCE = NCaltech101
