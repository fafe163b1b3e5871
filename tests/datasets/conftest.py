"""Small datasets on disk."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim.datasets import EVENT_DTYPE, DatasetInfo, Events, Recording, Source
from spikesim.datasets.archives import ArchiveSource
from spikesim.datasets.registry import source_class


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


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that no other test has written to."""
    monkeypatch.setenv("SPIKESIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("this test went to the network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("requests.get", refuse)


class Files:
    """Contents of files in the formats that datasets are published in."""

    @staticmethod
    def npy(array: np.ndarray[Any, Any]) -> bytes:
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()

    @staticmethod
    def zipped(members: dict[str, bytes]) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return file.getvalue()

    @staticmethod
    def tarred(members: dict[str, bytes]) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return file.getvalue()


@pytest.fixture(scope="session")
def files() -> type[Files]:
    return Files


def _small(name: str, root: Path, archives: dict[str, bytes], counts: dict[str, int]) -> Source:
    """The source ``name`` for these archives and numbers of files, with the archives in place."""
    published = source_class(name)
    assert issubclass(published, ArchiveSource)
    root.mkdir(exist_ok=True)
    for file, content in archives.items():
        (root / file).write_bytes(content)
    md5 = {file: hashlib.md5(content).hexdigest() for file, content in archives.items()}
    info = replace(
        published.info,
        archives=tuple(
            replace(a, md5=md5[a.name]) for a in published.info.archives if a.name in archives
        ),
    )
    assert info.archives, "the archives are named as the published ones"
    parts = {
        split: replace(part, count=counts.get(split, part.count))
        for split, part in published.parts.items()
    }
    kind = type(published.__name__, (published,), {"info": info, "parts": parts})
    source: Source = kind(root)
    return source


@pytest.fixture(scope="session")
def small() -> Callable[..., Source]:
    return _small
