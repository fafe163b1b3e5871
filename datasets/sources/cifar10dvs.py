"""CIFAR10-DVS: 10,000 CIFAR-10 images moved on a screen, seen by a DVS128."""

import re
from pathlib import Path
from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.readers import read_events
from spikesim.datasets.source import Archive, DatasetInfo, Events, Recording
from spikesim.datasets.tonic_source import ClassFolders, decode
from spikesim.errors import UserError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
FILES = {
    "airplane": ("7712788", "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": ("7712791", "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": ("7712794", "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": ("7712812", "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": ("7712815", "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": ("7712818", "f379ebdf6703d16e0a690782e62639c3"),
    "frog": ("7712842", "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": ("7712851", "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": ("7712836", "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": ("7712839", "89f3922fd147d9aeff89e76a2b0b70a7"),
}
"""figshare's number and md5 of each class's archive."""

PER_CLASS = 1000
TRAIN_AS_PUBLISHED = 900


class CIFAR10DVS(ClassFolders):
    """CIFAR10-DVS (Li et al., 2017): the original AEDAT 2.0 files, or Tonic's AEDAT 4 copies.

    There is no official split. ``train`` and ``test`` are ours, 900 and 100 per class: part 0 of
    ten of :func:`~spikesim.datasets.source.fold_numbers` over the names ``airplane/0`` ...
    ``truck/999`` is the test set; ``splits/cifar10dvs_test.txt`` lists it. The extra splits
    ``train_as_published`` and ``test_as_published`` are what most papers use: the first 900 files
    of each class in the order of names as text (0, 1, 10, 100, 101 ...), and the rest.
    """

    folds = 10
    info = DatasetInfo(
        name="cifar10dvs",
        title="CIFAR10-DVS: 10 classes of moved images, 128 x 128 DVS, 1,000 each",
        sensor_size=(128, 128, 2),
        classes=CLASSES,
        extra_splits=("train_as_published", "test_as_published"),
        official_split=False,
        licence="CC BY 4.0",
        citation=(
            "Li, Liu, Ji, Li, Shi: CIFAR10-DVS: an event-stream dataset for object "
            "classification. Frontiers in Neuroscience 11:309 (2017)"
        ),
        url="https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
        archives=tuple(
            Archive(f"{name}.zip", f"https://api.figshare.com/v2/file/download/{number}", md5)
            for name, (number, md5) in FILES.items()
        ),
        layout="airplane/cifar10_airplane_0.aedat ... truck/cifar10_truck_999.aedat (or .aedat4)",
        notes=(
            "No official split exists: train/test is a fixed split by hashed names, 900/100 per "
            "class, listed in splits/cifar10dvs_test.txt; *_as_published takes the first 900 "
            "files of each class. Tonic's .aedat4 copies need the package aedat."
        ),
    )
    parts: ClassVar[dict[str, Part]] = dict.fromkeys(
        ("train", "test", *info.extra_splits),
        Part(
            len(CLASSES) * PER_CLASS,
            (".aedat", ".aedat4"),
            tuple(archive.name for archive in info.archives),
        ),
    )

    def recordings(self, split: str) -> list[Recording]:
        """The recordings of a split."""
        if split in self.info.splits:
            return super().recordings(split)
        by_name = sorted(self.files(self.part(split)), key=lambda path: path.stem)
        found: list[Recording] = []
        for name in CLASSES:
            files = [path for path in by_name if path.parent.name == name]
            train, test = files[:TRAIN_AS_PUBLISHED], files[TRAIN_AS_PUBLISHED:]
            found += map(self.recording, train if split.startswith("train") else test)
        return found

    def recording(self, path: Path) -> Recording:
        """Named by class and number alone, which both kinds of files share."""
        found = super().recording(path)
        number = re.search(r"(\d+)$", path.stem)
        if number is None:
            raise UserError(f"cifar10dvs: {path} has no number in its name; remove it")
        return Recording(f"{path.parent.name}/{int(number.group())}", path, found.label)

    def read(self, recording: Recording) -> Events:
        """The events of a recording, in order of time."""
        if recording.path.suffix == ".aedat4":
            from spikesim.datasets.readers.aedat4 import require_aedat

            require_aedat()
            return decode("CIFAR10DVS", recording.path, recording.label)
        events, _ = read_events(recording.path, sort=True)
        return events


SOURCE = CIFAR10DVS
