"""Spiking Heidelberg Digits: spoken digits as spikes of an artificial cochlea."""

from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.hdf5_source import CITATION, DOWNLOADS, PAGE, Heidelberg
from spikesim.datasets.source import Archive, DatasetInfo

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun")


class SHD(Heidelberg):
    """Spiking Heidelberg Digits (Cramer et al., 2022): 20 digits, 700 channels, 12 speakers."""

    tonic = "SHD"
    info = DatasetInfo(
        name="shd",
        title="Spiking Heidelberg Digits: 20 spoken digits, 700 channels, about 1 s",
        sensor_size=(700, 1, 1),
        classes=ENGLISH + GERMAN,
        licence="CC BY 4.0",
        citation=CITATION,
        url=PAGE,
        archives=(
            Archive(
                "shd_train.h5.zip",
                DOWNLOADS + "shd_train.h5.zip",
                "f3252aeb598ac776c1b526422d90eecb",
            ),
            Archive(
                "shd_test.h5.zip",
                DOWNLOADS + "shd_test.h5.zip",
                "1503a5064faa34311c398fb0a1ed0a6f",
            ),
        ),
        layout="shd_train.h5 and shd_test.h5",
        notes="8,156 + 2,264 recordings; two speakers are in the test set only.",
    )
    parts: ClassVar[dict[str, Part]] = {
        "train": Part(1, ("shd_train.h5",), ("shd_train.h5.zip",)),
        "test": Part(1, ("shd_test.h5",), ("shd_test.h5.zip",)),
    }


SOURCE = SHD
