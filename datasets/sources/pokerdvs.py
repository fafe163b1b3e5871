"""POKER-DVS: pips of playing cards, browsed at high speed before a DVS."""

from typing import Any, ClassVar

import numpy as np

from spikesim.datasets.archives import Part
from spikesim.datasets.source import Archive, DatasetInfo, Events, Recording
from spikesim.datasets.tonic_source import ClassFolders, decode
from spikesim.errors import UserError

BASE = (
    "https://raw.githubusercontent.com/neuromorphs/tonic/"
    "d6f0a56421008c8e5700ca52abda193f9ff29836/tonic/datasets/"
)


class PokerDVS(ClassFolders):
    """POKER-DVS (Serrano-Gotarredona and Linares-Barranco, 2015), as cut out for Tonic."""

    info = DatasetInfo(
        name="pokerdvs",
        title="POKER-DVS: 4 card suits, 35 x 35 cut from a 128 x 128 DVS, up to 30 ms",
        sensor_size=(35, 35, 2),
        classes=("cl", "he", "di", "sp"),
        licence="not stated by the publishers",
        citation=(
            "Serrano-Gotarredona, Linares-Barranco: Poker-DVS and MNIST-DVS. Their history, how "
            "they were made, and other details. Frontiers in Neuroscience 9:481 (2015)"
        ),
        url="http://www2.imse-cnm.csic.es/caviar/POKERDVS.html",
        archives=(
            Archive(
                "pips_train.tar.gz",
                BASE + "pips_train.tar.gz",
                "412bcfb96826e4fcb290558e8c150aae",
            ),
            Archive(
                "pips_test.tar.gz",
                BASE + "pips_test.tar.gz",
                "eef2bf7d0d3defae89a6fa98b07c17af",
            ),
        ),
        layout="pips_train/cl/0.npy ... and pips_test/...",
        notes="48 training and 20 test recordings: clubs, hearts, diamonds, spades.",
    )
    parts: ClassVar[dict[str, Part]] = {
        "train": Part(48, (".npy",), ("pips_train.tar.gz",), "pips_train"),
        "test": Part(20, (".npy",), ("pips_test.tar.gz",), "pips_test"),
    }

    def read(self, recording: Recording) -> Events:
        """The events of a recording, in order of time."""
        path = recording.path
        try:
            columns: Any = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{path}: damaged ({error}); unpack its archive again") from None
        return decode("POKERDVS", path, recording.label, columns)


SOURCE = PokerDVS
