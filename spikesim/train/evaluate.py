"""Accuracy, its interval, and the confusion matrix of a model on recordings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesim.readout import readout as read_out
from spikesim.train.data import read_batches
from spikesim.train.device import autocast
from spikesim.train.metrics import wilson
from spikesim.world import World

if TYPE_CHECKING:
    from spikesim.datasets import EventDataset


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a set of recordings.

    Attributes:
        predictions: predicted class of each recording, ``[N]``.
        targets: true class, ``[N]``.
        confusion: counts, ``[K, K]``: rows are true, columns predicted classes.
        loss: mean cross-entropy of the readout, nats.
    """

    predictions: Tensor
    targets: Tensor
    confusion: Tensor
    loss: float

    @property
    def total(self) -> int:
        """Number of recordings."""
        return len(self.targets)

    @property
    def correct(self) -> int:
        """Number of right predictions: the diagonal of the confusion matrix."""
        return int(self.confusion.trace())

    @property
    def accuracy(self) -> float:
        """Fraction of right predictions."""
        return self.correct / max(self.total, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson, 1927)."""
        return wilson(self.correct, self.total)


def evaluate(
    model: nn.Module,
    dataset: "EventDataset",
    *,
    readout: str = "mean",
    batch_size: int = 64,
    workers: int = 0,
    amp: str = "off",
    world: World | None = None,
) -> Evaluation:
    """Run the model on every recording, in evaluation mode, and count.

    Args:
        model: maps ``[T, B, P, H, W]`` to logits ``[T, B, K]``; where its weights are, it runs.
        dataset: recordings with labels.
        readout: how the logits of all steps become one.
        batch_size: recordings per pass.
        workers: processes that prepare batches.
        amp: ``off``, ``bf16`` or ``fp16``.
        world: processes that share the work; each gets the whole result.
    """
    world = world or World()
    weight = next(model.parameters())
    device, dtype = weight.device, weight.dtype
    count, classes = len(dataset), len(dataset.classes)
    predictions = torch.zeros(count, dtype=torch.int64, device=device)
    targets = torch.zeros_like(predictions)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    own = range(count)[world.rank :: world.size]
    batches = [list(own[i : i + batch_size]) for i in range(0, len(own), batch_size)]
    reader = read_batches(dataset, batches, workers=workers, pin=device.type == "cuda")
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for indices, (x, y) in zip(batches, reader, strict=True):
                y = y.to(device)
                with autocast(device, amp):
                    logits = model(x.to(device, dtype))
                values = read_out(logits.double(), readout)
                predictions[indices], targets[indices] = values.argmax(1), y
                loss += F.cross_entropy(values, y, reduction="sum")
    finally:
        model.train(training)
    # Each recording was run by one process: the others have zeros in its place.
    for part in (predictions, targets, loss):
        world.sum(part)
    confusion = _confusion(predictions.cpu(), targets.cpu(), classes)
    return Evaluation(predictions.cpu(), targets.cpu(), confusion, float(loss) / max(count, 1))


def _confusion(predictions: Tensor, targets: Tensor, classes: int) -> Tensor:
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    found: Any = multiclass_confusion_matrix(predictions, targets, num_classes=classes)
    matrix: Tensor = found
    return matrix
