"""DVS-Lip: spoken words, seen by a DAVIS camera before the speaker's mouth."""

from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.source import Archive, DatasetInfo
from spikesim.datasets.tonic_source import TonicFiles

ARCHIVE = Archive("DVS-Lip.zip", "", "2dcb959255122d4cdeb6094ca282494b")

WORDS = """
    accused action allow allowed america american another around attacks banks become being
    benefit benefits between billion called capital challenge change chief couple court death
    described difference different during economic education election england evening
    everything exactly general germany giving ground happen happened having heavy house
    hundreds immigration judge labour leaders legal little london majority meeting military
    million minutes missing needs number numbers paying perhaps point potential press price
    question really right russia russian saying security several should significant spend
    spent started still support syria syrian taken taking terms these thing think times
    tomorrow under warning water welcome words worst years young
"""


class DVSLip(TonicFiles):
    """DVS-Lip (Tan et al., 2022): 100 words, 40 speakers; the official split by speakers."""

    tonic = "DVSLip"
    info = DatasetInfo(
        name="dvslip",
        title="DVS-Lip: 100 spoken words, 128 x 128 around the mouth, about 1 s",
        sensor_size=(128, 128, 2),
        classes=tuple(WORDS.split()),
        licence="not stated by the publishers",
        citation=(
            "Tan, Wang, Han, Cao, Wu, Zha: Multi-grained spatio-temporal features perceived "
            "network for event-based lip-reading. CVPR (2022)"
        ),
        url="https://drive.google.com/file/d/1dBEgtmctTTWJlnWuxFtk8gfOdVVpkQ0/view",
        archives=(ARCHIVE,),
        layout="DVS-Lip/train/<word>/0.npy ... and DVS-Lip/test/...",
        notes="14,896 + 4,975 recordings; Google Drive allows no download by program.",
    )
    parts: ClassVar[dict[str, Part]] = {
        "train": Part(14896, (".npy",), (ARCHIVE.name,), "train"),
        "test": Part(4975, (".npy",), (ARCHIVE.name,), "test"),
    }


SOURCE = DVSLip
