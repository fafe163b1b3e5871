"""A task of two moving bars, small enough that a whole training takes a second."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF
from spikesim.train.checkpoint import load_checkpoint
from spikesim.train.config import Config, TrainSettings
from spikesim.train.step import Stepper
from spikesim.world import World

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


class Small(nn.Sequential):
    """``[T, B, 4]`` -> ``[T, B, 2]``, with batch norm, spikes and dropout."""

    num_classes = 2

    def __init__(self) -> None:
        super().__init__(
            TimeDistributed(nn.Linear(4, 8), nn.BatchNorm1d(8)), LIF(), nn.Dropout(0.3),
            TimeDistributed(nn.Linear(8, 2)),
        )  # fmt: skip


@pytest.fixture
def small() -> Callable[[TrainSettings], Stepper]:
    """A step of a small network, always with the same weights."""

    def small(settings: TrainSettings) -> Stepper:
        torch.manual_seed(0)
        return Stepper(Small(), settings, torch.device("cpu"), World())

    return small


@pytest.fixture
def batches() -> Callable[[int, int], list[list[tuple[Tensor, Tensor]]]]:
    """``batches(count, parts)`` for it."""

    def batches(count: int, parts: int) -> list[list[tuple[Tensor, Tensor]]]:
        torch.manual_seed(1)
        labels = torch.tensor([0, 1] * 3)
        return [[(3 * torch.rand(5, 6, 4), labels) for _ in range(parts)] for _ in range(count)]

    return batches


@pytest.fixture
def everything() -> TrainSettings:
    """All that a step can do."""
    return TrainSettings(
        accumulate=2,
        clip_norm=0.5,
        ema=0.9,
        mixup=0.5,
        mixup_off_epoch=1,
        weight_decay=0.01,
        seed=3,
    )


@pytest.fixture
def everything_of() -> Callable[[Stepper], dict[str, Tensor]]:
    """Weights, statistics, averages and the optimizer's memory."""

    def everything_of(stepper: Stepper) -> dict[str, Tensor]:
        state = stepper.optimizer.state_dict()["state"]
        averages = stepper.ema.weights if stepper.ema else {}
        return {
            **{f"model.{k}": v.clone() for k, v in stepper.model.state_dict().items()},
            **{f"ema.{k}": v.clone() for k, v in averages.items()},
            **{f"optimizer.{i}.{k}": v.clone() for i, own in state.items() for k, v in own.items()},
        }

    return everything_of


@pytest.fixture
def weights() -> Callable[[Config], dict[str, Tensor]]:
    """All tensors of a run's last checkpoint."""

    def weights(config: Config) -> dict[str, Tensor]:
        found = load_checkpoint(config.run.path / "checkpoint")
        assert found is not None
        return {f"{g}.{k}": v for g, named in found.tensors.items() for k, v in named.items()}

    return weights


@pytest.fixture
def assert_same() -> Callable[[dict[str, Tensor], dict[str, Tensor]], None]:
    """Bit for bit."""

    def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
        assert a.keys() == b.keys()
        assert [name for name in a if not torch.equal(a[name], b[name])] == []

    return assert_same
