"""Free Spoken Digit Dataset: recordings of spoken digits, as spikes of a simple cochlea."""

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from spikesim.datasets.archives import ArchiveSource, Part
from spikesim.datasets.source import EVENT_DTYPE, Archive, DatasetInfo, Events, Recording
from spikesim.datasets.wav import read_wav
from spikesim.encoders.cochlea import Cochlea
from spikesim.errors import UserError

RELEASE = Archive("v1.0.10.zip", "")
"""GitHub makes it anew when it is asked for: there is no checksum to be published."""
OTHER_NAME = "fsdd_recordings.tar.xz"
"""An archive of the folder ``recordings`` alone serves as well."""

NAME = re.compile(r"(\d)_([a-z]+)_(\d+)")
FIRST_OF_TRAINING = 5
"""Of the 50 recordings of a digit by a speaker, those before it are the official test set."""


class FSDD(ArchiveSource):
    """Spoken digits at 8 kHz (Jackson et al., 2018), 50 of each by six speakers.

    ``read`` sends the sound through :class:`~spikesim.encoders.Cochlea` with its defaults: 140
    channels from 100 to 3,600 Hz, times in us. ``group`` is the speaker.
    """

    cochlea: ClassVar[Cochlea] = Cochlea()
    info = DatasetInfo(
        name="fsdd",
        title="Free Spoken Digit Dataset: 10 spoken digits, 140 channels of a cochlea, about 0.4 s",
        sensor_size=(cochlea.channels, 1, 1),
        classes=tuple("0123456789"),
        licence="CC BY-SA 4.0",
        citation="Jackson, Souza, Flaks, Pan, Nicolas, Thite: Free Spoken Digit Dataset (2018)",
        url="https://github.com/Jakobovski/free-spoken-digit-dataset/releases/tag/v1.0.10",
        archives=(RELEASE,),
        layout="recordings/<digit>_<speaker>_<number>.wav",
        notes="2,700 + 300 recordings; the official test set has the speakers of the training "
        "set, held_out=['theo'] tests on a speaker who was not heard before.",
    )
    parts: ClassVar[dict[str, Part]] = dict.fromkeys(
        ("train", "test"), Part(3000, (".wav",), (RELEASE.name,))
    )

    def find(self, archive: Archive) -> Path | None:
        """The release, or an archive of its recordings."""
        return super().find(archive) or super().find(replace(archive, name=OTHER_NAME))

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split, by digit, speaker and the text of their number."""
        found = []
        for path in self.files(self.part(split)):
            name = NAME.fullmatch(path.stem)
            if name is None:
                raise UserError(f"{path}: not named <digit>_<speaker>_<number>.wav; remove it")
            digit, speaker, number = name.groups()
            if (int(number) < FIRST_OF_TRAINING) == (split == "test"):
                found.append(Recording(f"recordings/{path.name}", path, int(digit), speaker))
        return found

    def read(self, recording: Recording) -> Events:
        """The spikes of a recording; ``x`` is the channel, the lowest frequency first."""
        sound = read_wav(recording.path, self.cochlea.sample_rate)
        samples, channels = self.cochlea(sound[None])[:, 0].nonzero(as_tuple=True)
        events = np.zeros(len(samples), EVENT_DTYPE)
        events["t"] = (samples.double() * (1e6 / self.cochlea.sample_rate)).round().numpy()
        events["x"], events["p"] = channels.numpy(), True
        return events


SOURCE = FSDD
