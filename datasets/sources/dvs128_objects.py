"""DVS128 objects: hand-held objects before a DVS128, in two sessions."""

from pathlib import Path
from typing import Any

from spikesim.datasets.readers import read_events
from spikesim.datasets.source import Archive, DatasetInfo, Events, Recording, Source
from spikesim.datasets.unpacking import unpacked, walk
from spikesim.errors import UserError

OBJECTS = {
    "Caixa": "box",
    "Caneca": "mug",
    "Estilete": "cutter",
    "Lapiseira": "mechanical pencil",
    "Tesoura": "scissors",
}
"""Name of the file, and class; the objects that both sessions have."""

ARCHIVE = Archive("dvs128_objects_aedat2.tar.xz", "")
TRAIN_SHARE = 0.75


class DVS128Objects(Source):
    """Five objects moved by hand (BioLab, UFU Brazil), cut into windows of 200 ms.

    ``train`` is the session of 33 to 36 s per object, ``test`` the other one, of 17 to 20 s;
    ``train_within`` and ``test_within`` are the first 75 % and the rest of the time of the
    longer session. ``group`` is the session.
    """

    info = DatasetInfo(
        name="dvs128_objects",
        title="DVS128 objects: 5 hand-held objects in two sessions, 128 x 128 DVS, 200 ms windows",
        sensor_size=(128, 128, 2),
        classes=tuple(OBJECTS.values()),
        extra_splits=("train_within", "test_within"),
        cut_us=200_000,
        min_events=500,
        official_split=False,
        licence="none stated: for your own experiments only",
        citation="BioLab, Universidade Federal de Uberlândia: DVS128_BioLab (2018)",
        url="https://github.com/eberlawrence/DVS128_BioLab",
        archives=(ARCHIVE,),
        layout="session_b/Caixa.aedat ... (NeuromorphicObjectDataSet_100/aedatFiles there) and "
        "session_a/Caixa.aedat ... (DataSet2 there)",
        notes="844 training and 470 test windows of 200 ms with at least 500 events.",
    )

    def recordings(self, split: str) -> list[Recording]:
        """One recording per object; ``part`` says which share of its time."""
        session = "session_a" if split == "test" else "session_b"
        shares = {"train_within": (0.0, TRAIN_SHARE), "test_within": (TRAIN_SHARE, 1.0)}
        paths = {path.stem: path for path in self.files() if path.parent.name == session}
        lacking = [f"{session}/{name}.aedat" for name in OBJECTS if name not in paths]
        if len(lacking) == len(OBJECTS):
            raise self.missing()
        if lacking:
            raise UserError(f"{self.root} lacks {', '.join(lacking)}; unpack the archive again")
        return [
            Recording(f"{session}/{name}", paths[name], label, session, shares.get(split))
            for label, name in enumerate(OBJECTS)
        ]

    def files(self) -> list[Path]:
        """All AEDAT files in ``root``, or in the archive that is or lies there."""
        archive = self.root if self.root.is_file() else self.root / ARCHIVE.name
        place = unpacked(archive) if archive.is_file() else self.root
        return sorted(walk(place, (".aedat",)))

    def read(self, recording: Recording) -> Events:
        """The events of a recording, or of a share of its time."""
        events, _ = read_events(recording.path)
        share: Any = recording.part
        if share is None:
            return events
        start, duration = events["t"][0], events["t"][-1] - events["t"][0]
        first, last = (start + int(part * duration) for part in share)
        kept: Events = events[(events["t"] >= first) & (events["t"] < last)]
        return kept


SOURCE = DVS128Objects
