r"""What is read from the spike counts of a liquid: one linear map, trained alone.

Counts become features, :math:`f = c / \lVert c \rVert_1` of each stimulus, divided by the largest
number among the training features. Logits are :math:`W f + b`; the loss is the cross-entropy with
soft targets :math:`\mathrm{softmax}(\pm 1)`, 0.451 for the true one of ten classes and 0.061 for
each other, plus :math:`\lambda \lVert W \rVert_2^2`. It is convex, so how it is minimised
does not matter in the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from spikesim.errors import UserError
from spikesim.train.metrics import wilson

__all__ = ["LinearReadout", "Score", "fit_readout", "soft_targets"]


@dataclass(frozen=True)
class Score:
    """Right predictions.

    Attributes:
        correct, total: predictions.
    """

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson, 1927)."""
        return wilson(self.correct, self.total)

    def __add__(self, other: "Score") -> "Score":
        return Score(self.correct + other.correct, self.total + other.total)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.2%} ({low:.2%} to {high:.2%} of {self.total})"


@dataclass(frozen=True, eq=False)
class LinearReadout:
    """A trained readout.

    Attributes:
        weight: ``[classes, neurons]``.
        bias: ``[classes]``.
        largest: number that features are divided by.
        shares: features are shares of a stimulus's counts, else the counts.
        epoch: from which it is: the best on the validation set.
    """

    weight: Tensor
    bias: Tensor
    largest: float
    shares: bool
    epoch: int

    def __call__(self, counts: ArrayLike) -> Tensor:
        """Logits ``[n, classes]`` of spike counts ``[n, neurons]``."""
        x = _features(counts, self.shares) / self.largest
        return F.linear(x, self.weight, self.bias)

    def score(self, counts: ArrayLike, labels: ArrayLike) -> Score:
        """How often the largest logit is that of the label ``[n]``."""
        right = self(counts).argmax(1) == torch.as_tensor(labels)
        return Score(int(right.sum()), len(right))


def soft_targets(labels: Tensor, classes: int) -> Tensor:
    """``softmax`` of 1 for the label, -1 for the others, ``[n, classes]``."""
    return (2.0 * F.one_hot(labels, classes) - 1.0).softmax(1)


def fit_readout(
    counts: ArrayLike,
    labels: ArrayLike,
    valid: tuple[ArrayLike, ArrayLike],
    *,
    classes: int = 10,
    penalties: Sequence[float] = (5e-10,),
    optimizer: Literal["lbfgs", "adadelta"] = "lbfgs",
    epochs: int = 40,
    batch: int = 250,
    soft: bool = True,
    shares: bool = True,
) -> LinearReadout:
    r"""Train a readout, and keep the epoch and the penalty that are best on the validation set.

    Args:
        counts: spikes of the training stimuli, ``[n, neurons]``.
        labels: their classes, ``[n]``.
        valid: counts and labels to choose by.
        classes: of the labels.
        penalties: :math:`\lambda` to choose from, per mean loss.
        optimizer: ``"lbfgs"`` on all stimuli, an epoch 10 iterations; or ``"adadelta"`` at rate 0.1
            on batches in order, the published one, which had 5,000 epochs.
        epochs: at most.
        batch: stimuli of a step of adadelta.
        soft: soft targets, as published, or the labels themselves.
        shares: divide the counts of a stimulus by their sum, as published.

    The published program divides features by the largest one of their batch, so that what else is
    in it changes a prediction; here it is the largest one of the training set.

    Raises:
        UserError: no such optimizer, nothing to learn from or to choose from, or a label that is
            no class.

    Reference: V. A. Ivanov, K. P. Michmizos (2021), NeurIPS 34, and the authors' program.
    """
    if optimizer not in ("lbfgs", "adadelta"):
        raise UserError(f"optimizer must be 'lbfgs' or 'adadelta', got {optimizer!r}")
    x, y = _features(counts, shares), torch.as_tensor(labels).long()
    if not len(x) == len(y) > 0 or not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise UserError(
            f"counts must be [n, neurons] with n >= 1 and labels [n] from 0 to {classes - 1}, got "
            f"{list(x.shape)} and {list(y.shape)}"
        )
    largest = float(x.max()) or 1.0  # of a silent liquid, whose readout is its bias
    x = x / largest
    targets = soft_targets(y, classes) if soft else F.one_hot(y, classes).float()
    size = len(x) if optimizer == "lbfgs" else batch
    best, most = None, -1
    for penalty in penalties:
        weight = torch.zeros(classes, x.shape[1], requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        both = [weight, bias]
        solver: torch.optim.Optimizer = (
            torch.optim.LBFGS(both, max_iter=10, line_search_fn="strong_wolfe")
            if optimizer == "lbfgs"
            else torch.optim.Adadelta(both, lr=0.1)
        )
        for epoch in range(1, epochs + 1):
            for start in range(0, len(x), size):
                rows = slice(start, start + size)
                solver.step(partial(_loss, solver, both, x[rows], targets[rows], penalty))
            copies = weight.detach().clone(), bias.detach().clone()
            now = LinearReadout(*copies, largest, shares, epoch)
            correct = now.score(*valid).correct
            if correct > most:
                best, most = now, correct
    if best is None:
        raise UserError(f"need an epoch and a penalty at least, got {epochs} and {penalties}")
    return best


def _loss(
    solver: torch.optim.Optimizer, both: list[Tensor], x: Tensor, targets: Tensor, penalty: float
) -> float:
    """Mean loss, whose gradient it leaves with the weights."""
    solver.zero_grad()
    loss = F.cross_entropy(F.linear(x, *both), targets) + penalty * both[0].square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _features(counts: ArrayLike, shares: bool) -> Tensor:
    x = torch.as_tensor(counts).float()
    return x / x.sum(1, keepdim=True).clamp_min(1.0) if shares else x
