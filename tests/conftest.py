"""Shared fixtures."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

# Tests share the cores with processes they start: threads that wait must not spin at all.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from spikesim.datasets.readers.events import make_events
from spikesim.datasets.readers.npz import write_npz

# What a shell starts with & ignores it, and so do the processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device and CuPy")
        for item in items:
            if item.get_closest_marker("gpu") is not None:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of recordings that are not shipped; see the marker ``data``."""
    root = os.environ.get("SPIKESIM_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("set SPIKESIM_DATA to the folder of recordings that are not shipped")
    return Path(root)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels and packed recordings never go to the user's own cache; all workers share one."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKESIM_CACHE", str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def write_bars() -> Callable[[Path, tuple[str, str], Mapping[str, int], int], None]:
    """Writes class folders of bars that move down or right over 8 x 8 pixels."""

    def write(root: Path, classes: tuple[str, str], counts: Mapping[str, int], size: int) -> None:
        random = np.random.default_rng(0)
        for split, count in counts.items():
            for label, name in enumerate(classes):
                folder = root / split / name
                folder.mkdir(parents=True)
                for i in range(count):
                    times = np.sort(random.integers(0, 8000, size))
                    along, across = times // 1000 % 8, random.integers(0, 8, size)
                    x, y = (across, along) if label == 0 else (along, across)
                    events = make_events(t=times, x=x, y=y, p=random.integers(0, 2, size))
                    write_npz(folder / f"{i:02d}.npz", events, (8, 8, 2))

    return write
