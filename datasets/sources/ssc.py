"""Spiking Speech Commands: spoken words as spikes of an artificial cochlea."""

from typing import Any, ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.hdf5_source import CITATION, DOWNLOADS, PAGE, Heidelberg
from spikesim.datasets.source import Archive, DatasetInfo

MD5 = {
    "train": "d102be95e7144fcc0553d1f45ba94170",
    "valid": "b4eee3516a4a90dd0c71a6ac23a8ae43",
    "test": "a35ff1e9cffdd02a20eb850c17c37748",
}


class SSC(Heidelberg):
    """Spiking Speech Commands (Cramer et al., 2022): 35 words, 700 channels, many speakers."""

    tonic = "SSC"
    info = DatasetInfo(
        name="ssc",
        title="Spiking Speech Commands: 35 spoken words, 700 channels, 1 s",
        sensor_size=(700, 1, 1),
        classes=(),
        splits=("train", "valid", "test"),
        licence="CC BY 4.0",
        citation=CITATION,
        url=PAGE,
        archives=tuple(
            Archive(f"ssc_{split}.h5.zip", f"{DOWNLOADS}ssc_{split}.h5.zip", md5)
            for split, md5 in MD5.items()
        ),
        layout="ssc_train.h5, ssc_valid.h5 and ssc_test.h5",
        notes="75,466 + 9,981 + 20,382 recordings.",
    )
    parts: ClassVar[dict[str, Part]] = {
        split: Part(1, (f"ssc_{split}.h5",), (f"ssc_{split}.h5.zip",))
        for split in ("train", "valid", "test")
    }

    def arguments(self, split: str) -> dict[str, Any]:
        """Tonic knows three parts of it."""
        return {"split": split}


SOURCE = SSC
