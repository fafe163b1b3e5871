"""DVS128 Gesture: eleven hand and arm gestures of 29 people."""

from pathlib import Path
from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.source import Archive, DatasetInfo, Recording
from spikesim.datasets.tonic_source import TonicFiles
from spikesim.errors import UserError


class DVSGesture(TonicFiles):
    """DVS128 Gesture (Amir et al., 2017) as preprocessed for Tonic: one file per gesture.

    The official split: 23 people train, 6 others test. ``group`` is the person.
    """

    tonic = "DVSGesture"
    info = DatasetInfo(
        name="dvsgesture",
        title="DVS128 Gesture: 11 gestures, 128 x 128 DVS, about 6 s each",
        sensor_size=(128, 128, 2),
        classes=(
            "hand clapping",
            "right hand wave",
            "left hand wave",
            "right arm clockwise",
            "right arm counter-clockwise",
            "left arm clockwise",
            "left arm counter-clockwise",
            "arm roll",
            "air drums",
            "air guitar",
            "other gestures",
        ),
        licence="CC BY 4.0",
        citation=(
            "Amir et al.: A low power, fully event-based gesture recognition system. CVPR (2017)"
        ),
        url="https://research.ibm.com/dvsgesture",
        # Tonic's figshare.com/ndownloader addresses answer with an empty file; same content here
        archives=(
            Archive(
                "ibmGestureTrain.tar.gz",
                "https://api.figshare.com/v2/file/download/38022171",
                "3a8f0d4120a166bac7591f77409cb105",
            ),
            Archive(
                "ibmGestureTest.tar.gz",
                "https://api.figshare.com/v2/file/download/38020584",
                "56070e45dadaa85fff82e0fbfbc06de5",
            ),
        ),
        layout="ibmGestureTrain/user01_fluorescent/0.npy ... and ibmGestureTest/...",
        notes="Recordings are cut at gestures and times rounded to 1 ms, by Tonic's authors.",
    )
    parts: ClassVar[dict[str, Part]] = {
        "train": Part(1077, (".npy",), ("ibmGestureTrain.tar.gz",), "ibmGestureTrain"),
        "test": Part(264, (".npy",), ("ibmGestureTest.tar.gz",), "ibmGestureTest"),
    }

    def recording(self, path: Path) -> Recording:
        """Person and lighting from the folder, the label from the file's number."""
        person, _, _ = path.parent.name.partition("_")
        if not path.stem.isdigit() or int(path.stem) >= len(self.classes):
            raise UserError(f"dvsgesture: {path} is named by no gesture (0 to 10); remove it")
        return Recording(f"{path.parent.name}/{path.name}", path, int(path.stem), group=person)


SOURCE = DVSGesture
