"""Google Speech Commands: spoken words, as mel spectrograms."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from spikesim.datasets.download import fetch, verify
from spikesim.datasets.series import SeriesSource
from spikesim.datasets.source import Archive, DatasetInfo, Recording
from spikesim.datasets.unpacking import unpacked
from spikesim.datasets.wav import halve_rate, read_wav
from spikesim.encoders.mel import MelSpectrogram
from spikesim.errors import UserError

WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four",
    "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right",
    "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip

ARCHIVE = Archive(
    "speech_commands_v0.02.tar.gz",
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "6b74f3901214cb2c2934e98196829835",
)
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
RATE, SAMPLES = 16_000, 16_000


class GSC(SeriesSource):
    """Speech Commands v0.02 (Warden, 2018), 35 words of one second, as Hammouamri et al. (2024).

    Each recording is brought to one second at its end, to 8 kHz, and to the defaults of
    :class:`~spikesim.encoders.MelSpectrogram`: 101 steps of 10 ms, 140 bands, decibels. ``group``
    is the speaker; those of the three splits differ.
    """

    mel: ClassVar[MelSpectrogram] = MelSpectrogram()
    steps = 1 + SAMPLES // 2 // mel.hop
    info = DatasetInfo(
        name="gsc",
        title="Speech Commands v0.02: 35 spoken words, mel spectrograms of 140 bands, 1 s",
        sensor_size=(mel.bands, 1, 1),
        classes=WORDS,
        splits=("train", "valid", "test"),
        licence="CC BY 4.0",
        citation="Warden: Speech Commands, a dataset for limited-vocabulary speech recognition "
        "(2018)",
        url="https://www.tensorflow.org/datasets/catalog/speech_commands",
        archives=(ARCHIVE,),
        layout="<word>/<speaker>_nohash_<number>.wav, validation_list.txt and testing_list.txt",
        notes="84,843 + 9,981 + 11,005 recordings; 101 steps, no events.",
    )

    @cached_property
    def folder(self) -> Path:
        """The folder with the lists of the splits; an archive is unpacked for it."""
        archive = self.root if self.root.is_file() else self.root / ARCHIVE.name
        if archive.is_file():
            verify(archive, ARCHIVE)
        base = unpacked(archive) if archive.is_file() else self.root
        if not all((base / name).is_file() for name in LISTS.values()):
            raise self.missing()
        return base

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split: of its list, or of neither list, by word and name."""
        listed = {part: set(self._lines(name)) for part, name in LISTS.items()}
        found = []
        for label, word in enumerate(self.classes):
            for path in sorted((self.folder / word).glob("*.wav")):
                key = f"{word}/{path.name}"
                part = next((part for part, keys in listed.items() if key in keys), "train")
                if part == split:
                    speaker = path.stem.partition("_nohash_")[0]
                    found.append(Recording(key, path, label, speaker))
        if not found:
            raise UserError(f"gsc: no recordings of split {split!r} in {self.folder}")
        return found

    def _lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text(encoding="utf-8").split()

    def series(self, recordings: Sequence[Recording]) -> Tensor:
        """The spectrograms, ``[T, B, 1, 1, bands]``."""
        sounds = [read_wav(recording.path, RATE)[:SAMPLES] for recording in recordings]
        x = torch.stack([F.pad(sound, (0, SAMPLES - len(sound))) for sound in sounds])
        return self.mel(halve_rate(x))[:, :, None, None]

    def prepare(self) -> None:
        """Download and unpack what is missing (2.3 GB)."""
        if not self.root.is_file() and not (self.root / LISTS["test"]).is_file():
            fetch(ARCHIVE, self.root)
        self.recordings("test")


SOURCE = GSC
