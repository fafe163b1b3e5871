"""Dynamic Confidence: stop a sample at the first step at which its class is certain enough.

Shape legend: ``T`` steps, ``B`` samples, ``K`` classes; time first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spikesim.early_exit.carried import Carried, Stepper
from spikesim.errors import UserError
from spikesim.probe import evaluating


@dataclass(frozen=True)
class Exits:
    """When each sample stopped, and what was said of it then.

    Attributes:
        steps: steps that were run, 1 to ``T``, ``[B]``.
        predictions: classes, ``[B]``.
        confidences: of these classes, in [0, 1], ``[B]``.
        limit: ``T``, where whoever is still uncertain stops.
    """

    steps: Tensor
    predictions: Tensor
    confidences: Tensor
    limit: int

    @classmethod
    def joined(cls, parts: "Sequence[Exits]") -> "Exits":
        """Those of several batches of the same number of steps, in turn."""
        return cls(
            torch.cat([part.steps for part in parts]),
            torch.cat([part.predictions for part in parts]),
            torch.cat([part.confidences for part in parts]),
            parts[0].limit,
        )

    def __getitem__(self, samples: slice | Tensor) -> "Exits":
        """Those of some samples."""
        return Exits(
            self.steps[samples], self.predictions[samples], self.confidences[samples], self.limit
        )

    @property
    def latency(self) -> float:
        """Mean number of steps."""
        return float(self.steps.double().mean())

    def latency_until(self, limit: int) -> float:
        """Mean number of steps if all stop at step ``limit`` at the latest."""
        return float(self.steps.clamp(max=limit).double().mean())

    @property
    def running(self) -> Tensor:
        """Share of the samples that run in each step, ``[T]``; its sum is the latency."""
        stopped = torch.bincount(self.steps, minlength=self.limit + 1)[:-1]
        return 1.0 - stopped.cumsum(0).double() / len(self.steps)

    def accuracy(self, targets: Tensor) -> float:
        """Fraction of right predictions, of true classes ``[B]``."""
        if targets.shape != self.predictions.shape:
            raise UserError(
                f"targets must be classes [{len(self.predictions)}], one for each sample, got "
                f"{list(targets.shape)}"
            )
        return float((self.predictions == targets.to(self.predictions.device)).double().mean())


@dataclass(frozen=True)
class DynamicConfidence:
    r"""Stops a sample when the soft-max of its accumulated output exceeds a threshold.

    .. math::
        O_t = O_{t-1} + o_t / \alpha, \quad c_t = \max_k \mathrm{softmax}(O_t)_k, \quad
        T^* = \min(\{t : c_t > c_\mathrm{th}\} \cup \{T\})

    The class said is that of :math:`c_{T^*}`, the first one among equals. A threshold of 1 is never
    exceeded: all run to :math:`T`; one of 0 is exceeded at once. Both numbers are found by
    :func:`~spikesim.early_exit.calibration.calibrate`. Sums are taken in float64.

    Args:
        alpha: smoothing :math:`\alpha` of the outputs, in their unit, > 0; the published program
            has 30 for CIFAR-10.
        threshold: :math:`c_\mathrm{th}`, in [0, 1]; published: 0.6.

    Raises:
        UserError: a number out of its range.

    Reference: Li, Jones and Furber (2023), *Unleashing the potential of spiking neural networks
    with Dynamic Confidence*, ICCV, arXiv 2303.10276; equations as in its published program.

    >>> decide = DynamicConfidence(alpha=1.0, threshold=0.8)
    >>> outputs = torch.tensor([[[1.0, 0.0], [3.0, 0.0]], [[1.0, 0.0], [3.0, 0.0]]])
    >>> decide(outputs).steps.tolist()  # softmax([1, 0]) has 0.73, softmax([2, 0]) 0.88
    [2, 1]
    """

    alpha: float
    threshold: float

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not 0 <= self.threshold <= 1:
            raise UserError(
                f"threshold must be in [0, 1], as confidences are, got {self.threshold}"
            )

    def __call__(self, outputs: Tensor) -> Exits:
        """When each sample would stop, from stored outputs ``[T, B, K]`` of all steps.

        Raises:
            UserError: outputs of another form, or not finite.
        """
        return exits(*confidences(outputs, self.alpha), self.threshold)

    def run(self, model: nn.Module | Stepper, x: Tensor) -> Exits:
        """Run a model step by step; samples that are certain leave the batch.

        Args:
            model: ``[T, B, ...]`` -> outputs ``[T, B, K]``, with this package's neurons (run in
                evaluation mode without gradients), or any other network as a
                :class:`~spikesim.early_exit.carried.Stepper` at its beginning.
            x: input ``[T, B, ...]``; an image is repeated by
                :class:`~spikesim.encoders.Direct`, which takes no memory.

        Raises:
            UserError: an input or outputs of another form, outputs that are not finite, or a
                model whose state cannot be carried from step to step.
        """
        if x.dim() < 2 or 0 in x.shape[:2]:
            raise UserError(f"input must be [T, B, ...], T and B >= 1, got {list(x.shape)}")
        if not isinstance(model, nn.Module):
            return self._stepped(model, x)
        with evaluating(model), Carried(model) as carried:
            return self._stepped(carried, x)

    def _stepped(self, model: Stepper, x: Tensor) -> Exits:
        limit, batch = x.shape[:2]
        running = torch.arange(batch, device=x.device)
        steps = torch.full_like(running, limit)
        predictions = torch.zeros_like(running)
        found = torch.zeros(batch, dtype=torch.float64, device=x.device)
        total: Tensor | float = 0.0
        for t, now in enumerate(x.unbind(0), 1):
            output = model.step(now[running])
            check_outputs(output[None], f" at step {t}")
            total = total + output.double() / self.alpha
            confidence, prediction = total.softmax(-1).max(-1)
            done = confidence > self.threshold if t < limit else torch.ones_like(running).bool()
            left, stay = (part.nonzero().squeeze(1) for part in (done, ~done))
            steps[running[left]] = t
            predictions[running[left]], found[running[left]] = prediction[left], confidence[left]
            if not len(stay):
                break
            if len(left):
                model.keep(stay)
                running, total = running[stay], total[stay]
        return Exits(steps, predictions, found, limit)


def confidences(outputs: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Confidence and predicted class after each step, both ``[T, B]``.

    Args:
        outputs: ``[T, B, K]``, of each step alone.
        alpha: see :class:`DynamicConfidence`.
    """
    check_alpha(alpha)
    check_outputs(outputs)
    total, rows = torch.zeros_like(outputs[0], dtype=torch.float64), []
    for output in outputs.unbind(0):  # in the order of a run, so that the sums have its bits
        total = total + output.double() / alpha
        rows.append(total.softmax(-1).max(-1))
    confidence, prediction = zip(*rows, strict=True)
    return torch.stack(confidence), torch.stack(prediction)


def exits(confidence: Tensor, prediction: Tensor, threshold: float) -> Exits:
    """The first step of each sample that exceeds the threshold, of what ``confidences`` gives."""
    limit = len(confidence)
    certain = confidence > threshold
    certain[-1] = True
    first = certain.int().argmax(0)
    said, sure = (values.gather(0, first[None])[0] for values in (prediction, confidence))
    return Exits(first + 1, said, sure, limit)


def check_alpha(alpha: float) -> None:
    """Refuse a smoothing that is no positive number."""
    if not 0 < alpha < math.inf:
        raise UserError(f"alpha must be > 0 and finite, in the unit of the outputs, got {alpha}")


def check_outputs(outputs: Tensor, where: str = "") -> None:
    """Refuse outputs that are not ``[T, B, K]``, or not finite."""
    if outputs.dim() != 3 or 0 in outputs.shape:
        raise UserError(
            f"outputs{where} must be [T, B, K], one row of class values for each step and sample, "
            f"got {list(outputs.shape)}; leave out the readout over time"
        )
    if not bool(outputs.isfinite().all()):
        raise UserError(
            f"outputs{where} hold NaN or infinity, which no confidence can be taken of; "
            "look for them in the weights or the input"
        )
