"""A task of two moving bars, small enough that a whole training takes a second."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from spikesim.train.config import Config

STEPS = 3


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory, write_bars: Callable[..., None]) -> Path:
    """Recordings in class folders: 2 x 16 to train, 2 x 4 to test."""
    root = tmp_path_factory.mktemp("bars")
    write_bars(root, ("down", "right"), {"train": 16, "test": 4}, 100)
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
