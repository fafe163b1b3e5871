"""A task of two moving bars, small enough that a whole training takes a second."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from spikesim.datasets.readers.events import make_events
from spikesim.datasets.readers.npz import write_npz
from spikesim.train.config import Config

PIXELS, STEPS = 8, 3


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKESIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings in class folders: 2 x 16 to train, 2 x 4 to test."""
    root = tmp_path_factory.mktemp("bars")
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for label, name in enumerate(("down", "right")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                times = np.sort(random.integers(0, 8000, 100))
                along = times // 1000 % PIXELS
                across = random.integers(0, PIXELS, 100)
                x, y = (across, along) if label == 0 else (along, across)
                events = make_events(t=times, x=x, y=y, p=random.integers(0, 2, 100))
                write_npz(folder / f"{i:02d}.npz", events, (PIXELS, PIXELS, 2))
    return root


@pytest.fixture
def recipe(bars: Path, tmp_path: Path) -> Path:
    """A recipe file: 4 steps per epoch, 3 epochs, everything that draws switched on."""
    settings = {
        "run": {"name": "bars", "dir": str(tmp_path / "runs")},
        "data": {
            "name": "folder",
            "root": str(bars),
            "steps": STEPS,
            "augment": {"flip": 0.5, "roll": 1},
            "batch_size": 8,
        },
        "model": {"name": "spiking_vgg", "sizes": {"layers": "4-M-8-fc16"}},
        "train": {
            "epochs": 3,
            "warmup_epochs": 1,
            "lr": 0.01,
            "weight_decay": 0.01,
            "mixup": 0.5,
            "ema": 0.9,
            "clip_norm": 1.0,
            "device": "cpu",
            "checkpoint_seconds": None,
            "tensorboard": False,
            "report": False,
        },
    }
    path = tmp_path / "bars.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def config(recipe: Path) -> Callable[..., Config]:
    """``config("train.epochs=1", ...)``: the recipe with overrides."""
    return lambda *overrides: Config.load(recipe, overrides)
