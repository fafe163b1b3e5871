"""N-Cars: cars and street background, cut out of recordings from a car."""

from typing import ClassVar

from spikesim.datasets.archives import Part
from spikesim.datasets.readers import read_events
from spikesim.datasets.source import Archive, DatasetInfo, Events, Recording
from spikesim.datasets.tonic_source import ClassFolders

ARCHIVE = Archive("Prophesee_Dataset_n_cars.zip", "", "553ce464d6e5e617b3c21ce27c19368e")


class NCars(ClassFolders):
    """N-Cars (Sironi et al., 2018), official split; Tonic has no class for it any more."""

    info = DatasetInfo(
        name="ncars",
        title="N-Cars: cars or background, up to 120 x 100 cut from ATIS, 100 ms",
        sensor_size=(120, 100, 2),
        classes=("background", "cars"),
        licence="Prophesee's terms, accepted at download",
        citation=(
            "Sironi, Brambilla, Bourdis, Lagorce, Benosman: HATS: Histograms of averaged time "
            "surfaces for robust event-based object classification. CVPR (2018)"
        ),
        url="https://www.prophesee.ai/dataset-n-cars/",
        archives=(ARCHIVE,),
        layout="n-cars_train/cars/*.dat, n-cars_train/background/*.dat, and n-cars_test/...",
        notes="The download has to be asked for on the page. Sizes differ; all start at x = y = 0.",
    )
    parts: ClassVar[dict[str, Part]] = {
        "train": Part(15422, (".dat",), (ARCHIVE.name,), "n-cars_train"),
        "test": Part(8607, (".dat",), (ARCHIVE.name,), "n-cars_test"),
    }

    def read(self, recording: Recording) -> Events:
        """The events of a recording."""
        events, _ = read_events(recording.path, sensor_size=self.sensor_size, sort=True)
        return events


SOURCE = NCars
