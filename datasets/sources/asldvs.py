"""ASL-DVS: letters of the American Sign Language."""

from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.source import Archive, DatasetInfo
from spikesim.datasets.tonic_source import TonicFiles

ARCHIVE = Archive(
    "ASLDVS.zip",
    "https://www.dropbox.com/sh/ibq0jsicatn7l6r/AACNrNELV56rs1YInMWUs9CAa?dl=1",
    "33f8b87bf45edc0bfed0de41822279b9",
)


class ASLDVS(TonicFiles):
    """ASL-DVS (Bi et al., 2019): 24 letters, 4,200 recordings each, of five people.

    There is no official split: ``test`` is part 0 of five of
    :func:`~spikesim.datasets.source.fold_numbers` over ``letter/file``, 20 % of each letter.
    """

    tonic = "ASLDVS"
    folds = 5
    info = DatasetInfo(
        name="asldvs",
        title="ASL-DVS: 24 hand signs (letters without j and z), 240 x 180 DAVIS, 100 ms",
        sensor_size=(240, 180, 2),
        classes=tuple("abcdefghiklmnopqrstuvwxy"),
        official_split=False,
        licence="not stated by the publishers",
        citation=(
            "Bi, Chadha, Abbas, Bourtsoulatze, Andreopoulos: Graph-based object classification "
            "for neuromorphic vision sensing. ICCV (2019)"
        ),
        url="https://github.com/PIX2NVS/NVS2Graph",
        archives=(ARCHIVE,),
        layout="a/a_0001.mat ... y/y_4200.mat",
        notes="No official split exists: a fixed one by hashed names, 80/20 for each letter.",
    )
    parts: ClassVar[dict[str, Part]] = dict.fromkeys(
        ("train", "test"), Part(100800, (".mat",), (ARCHIVE.name,))
    )


SOURCE = ASLDVS
