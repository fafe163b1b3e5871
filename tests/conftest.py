"""Shared fixtures."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

# Tests share the cores with processes they start: threads that wait must not spin at all.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from spikesim.datasets.readers.events import make_events
from spikesim.datasets.readers.npz import write_npz


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
    """Packed recordings never go to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKESIM_CACHE", str(tmp_path_factory.mktemp("cache")))
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


@pytest.fixture(scope="session")
def compile_on_host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ctypes.CDLL]:
    """Compiles CUDA text with the host compiler: what ``host_shim.h`` says, with no contraction."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: CUDA text cannot be compiled for the host")
    folder = tmp_path_factory.mktemp("host")
    shim = Path(__file__).parent / "kernels" / "host_shim.h"

    @cache
    def compile_(text: str) -> ctypes.CDLL:
        source = folder / f"text{len(list(folder.iterdir()))}.cpp"
        source.write_text(f'#include "{shim}"\n{text}')
        library = source.with_suffix(".so")
        flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, "-o", library, source], check=True)
        return ctypes.CDLL(str(library))

    return compile_
