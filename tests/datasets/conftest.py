"""A small dataset on disk, and packed files kept out of the user's cache."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from spikesim.datasets import EVENT_DTYPE, DatasetInfo, Events, Recording, Source


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKESIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class Toy(Source):
    """Recordings ``<split>/<label>-<number>.npy``."""

    info = DatasetInfo("toy", "Toy", (7, 5, 2), ("a", "b", "c"))
    reads = 0

    def recordings(self, split: str) -> list[Recording]:
        files = sorted((self.root / split).glob("*.npy"))
        if not files:
            raise self.missing()
        return [Recording(f"{split}/{path.name}", path, int(path.name[0])) for path in files]

    def read(self, recording: Recording) -> Events:
        type(self).reads += 1
        events: Events = np.load(recording.path)
        return events


@pytest.fixture
def make_events() -> Callable[..., Events]:
    def make(count: int, seed: int = 0, size: tuple[int, int] = (7, 5), last: int = 999) -> Events:
        rng = np.random.default_rng(seed)
        events = np.empty(count, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, last, count, endpoint=True))
        events["x"] = rng.integers(0, size[0], count)
        events["y"] = rng.integers(0, size[1], count)
        events["p"] = rng.integers(0, 2, count)
        return events

    return make


@pytest.fixture
def toy(tmp_path: Path, make_events: Callable[..., Events]) -> Toy:
    """12 training and 6 test recordings in 3 classes."""
    for split, count in (("train", 12), ("test", 6)):
        (tmp_path / "toy" / split).mkdir(parents=True)
        for i in range(count):
            events = make_events(50 + 10 * i, seed=i + 100 * count)
            np.save(tmp_path / "toy" / split / f"{i % 3}-{i:02d}.npy", events)
    Toy.reads = 0
    return Toy(tmp_path / "toy")
