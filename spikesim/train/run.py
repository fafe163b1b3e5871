"""A run: one folder with its settings, metrics, checkpoints and result."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spikesim.errors import UserError, nearest
from spikesim.files import sync_folder, write_atomic
from spikesim.train.checkpoint import Checkpoint, load_checkpoint, load_weights
from spikesim.train.config import Config
from spikesim.train.data import load_split
from spikesim.train.metrics import read_metrics

if TYPE_CHECKING:
    from spikesim.datasets import EventDataset
    from spikesim.models.base import SpikingModel


@dataclass(frozen=True)
class Result:
    """The outcome of a run; ``result.json``.

    Attributes:
        accuracy: on the test split.
        interval: its 95 % interval (Wilson, 1927).
        correct: right predictions.
        total: test recordings.
        selection: ``last`` or ``as_published``; see :class:`~spikesim.train.config.TrainSettings`.
        seed: of the run.
        epochs: trained, cool-down included.
        parameters: learnable numbers of the model.
        seconds: of training, over all its parts if it was resumed.
        firing_rates: layer -> share of non-zero outputs on the test split.
        energy: totals of :func:`spikesim.energy.estimate` on some test recordings.
        classes: names in label order.
        confusion: counts, rows true and columns predicted classes.
    """

    accuracy: float
    interval: tuple[float, float]
    correct: int
    total: int
    selection: str
    seed: int
    epochs: int
    parameters: int
    seconds: float
    firing_rates: dict[str, float]
    energy: dict[str, Any]
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Task:
    """What a model has to fit: the shape of a recording and the names of the classes."""

    steps: int
    frame_shape: tuple[int, int, int]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, dataset: "EventDataset") -> "Task":
        """The task a dataset poses."""
        p, h, w = (int(size) for size in dataset.frame_shape)
        return cls(dataset.steps, (p, h, w), tuple(map(str, dataset.classes)))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Task":
        """From the state of a checkpoint."""
        p, h, w = values["frame_shape"]
        return cls(values["steps"], (p, h, w), tuple(values["classes"]))


def build_model(config: Config, task: Task) -> "SpikingModel":
    """The model of a recipe, with fresh weights, for a task."""
    from spikesim.models import create

    channels, height, width = task.frame_shape
    model = create(
        config.model.name,
        num_classes=len(task.classes),
        steps=task.steps,
        in_channels=channels,
        image_size=(height, width),
        preset=config.model.preset,
        **config.model.sizes,
    )
    return model.to(getattr(torch, config.train.dtype))


class Run:
    """A run that exists on disk.

    Args:
        path: its folder, as in ``runs/nmnist-tiny``.

    Raises:
        UserError: there is no run; the nearest name beside it is suggested.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "config.yaml").is_file():
            beside = [one.parent.name for one in self.path.parent.glob("*/config.yaml")]
            hint = nearest(self.path.name, sorted(beside)) if beside else ""
            raise UserError(f"no run at {self.path} (no config.yaml there){hint}")

    @classmethod
    def create(cls, config: Config) -> "Run":
        """A new run folder with its ``config.yaml``, made in one step.

        Raises:
            UserError: the folder exists; nothing is overwritten.
        """
        path = config.run.path
        cls.refuse_existing(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.mkdir(parents=True, exist_ok=True)
        config.save(temporary / "config.yaml")
        sync_folder(temporary)
        temporary.rename(path)
        sync_folder(path.parent)
        return cls(path)

    @staticmethod
    def refuse_existing(path: Path) -> None:
        """Raise a ``UserError`` where something lies at ``path``."""
        if path.exists():
            raise UserError(
                f"{path} exists already and nothing is overwritten; continue it with --resume, "
                "or choose another run.name"
            )

    @property
    def config(self) -> Config:
        """Its settings."""
        return Config.load(self.path / "config.yaml")

    @property
    def metrics_path(self) -> Path:
        """``metrics.jsonl``."""
        return self.path / "metrics.jsonl"

    def metrics(self) -> list[dict[str, Any]]:
        """One record per finished epoch, in order."""
        return [line for line in read_metrics(self.metrics_path) if line.get("kind") == "epoch"]

    def warnings(self) -> list[dict[str, Any]]:
        """What was reported during training: silent layers, NaN, with step and ``message``."""
        return [line for line in read_metrics(self.metrics_path) if line.get("kind") == "warning"]

    @property
    def result(self) -> Result | None:
        """The outcome, or ``None`` while the run is not finished."""
        path = self.path / "result.json"
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["interval"] = tuple(values["interval"])
            values["classes"] = tuple(values["classes"])
            values["confusion"] = tuple(map(tuple, values["confusion"]))
            return Result(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged ({error}); evaluate the run again") from None

    def write_result(self, result: Result) -> None:
        """Write ``result.json``, whole or not at all."""
        text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
        write_atomic(self.path / "result.json", text.encode())

    def checkpoint(self) -> Checkpoint:
        """The newest whole checkpoint.

        Raises:
            UserError: there is none yet, or all are damaged.
        """
        found = load_checkpoint(self.path / "checkpoint")
        if found is None:
            raise UserError(f"{self.path} has no checkpoint yet; continue it with --resume")
        return found

    def model(self) -> nn.Module:
        """The trained model in evaluation mode: the averaged weights where EMA is on.

        Raises:
            UserError: no checkpoint, or ``config.yaml`` no longer describes its model.
        """
        checkpoint, config = self.checkpoint(), self.config
        task = Task.from_dict(checkpoint.state["task"])
        if task.steps != config.data.steps:
            raise UserError(
                f"the weights of {self.path} were trained with T = {task.steps} steps, its "
                f"config.yaml has data.steps={config.data.steps}; set it to {task.steps}"
            )
        model = build_model(config, task)
        load_weights(model, checkpoint.weights, str(self.path))
        return model.eval()

    @property
    def task(self) -> Task:
        """What its model was trained for, from the checkpoint."""
        return Task.from_dict(self.checkpoint().state["task"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.task.classes

    def dataset(self, split: str = "test") -> "EventDataset":
        """Its recordings, not augmented."""
        return load_split(self.config, split)
