"""Losses on class values of every step. Shapes: ``T`` steps, ``B`` batch, ``K`` classes.

A target is class indices ``[B]`` or probabilities ``[B, K]`` (mixup).
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim.errors import UserError, nearest
from spikesim.readout import READOUTS, readout


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of one readout of all steps.

    Args:
        readout: see :func:`spikesim.readout.readout`.
        label_smoothing: share of the target spread over all classes, in [0, 1).

    Shape: ``[T, B, K]`` and ``[B]`` or ``[B, K]`` -> scalar.

    Raises:
        UserError: an unknown readout, or a smoothing out of its range.
    """

    readout: str = "mean"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.readout not in READOUTS:
            raise UserError(f"no readout {self.readout!r}{nearest(self.readout, READOUTS)}")
        _check_smoothing(self.label_smoothing)

    def __call__(self, logits_TBK: Tensor, target: Tensor) -> Tensor:
        """The loss, averaged over the batch."""
        _check_target(logits_TBK, target)
        values = _at_least_single(readout(logits_TBK, self.readout))
        return F.cross_entropy(values, target, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class TET:
    r"""Temporal efficient training: every step answers, and is kept near a common level.

    .. math::
        L = (1 - \lambda) \frac{1}{T} \sum_t \mathrm{CE}(y_t, \text{target})
            + \lambda \, \mathrm{mean}_{t, b, k} (y_{tbk} - m)^2

    Args:
        weight: :math:`\lambda`, in [0, 1].
        means: the level :math:`m`.
        label_smoothing: as in :class:`CrossEntropy`.

    Shape: ``[T, B, K]`` and ``[B]`` or ``[B, K]`` -> scalar.

    Raises:
        UserError: a number out of its range.

    Reference: Deng et al. (2022), *Temporal efficient training of spiking neural network*,
    equation 11; weight and level as used by Yao et al. (2023) on CIFAR10-DVS.
    """

    weight: float = 1e-3
    means: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UserError(f"TET weight must be in [0, 1], got {self.weight}")
        _check_smoothing(self.label_smoothing)

    def __call__(self, logits_TBK: Tensor, target: Tensor) -> Tensor:
        """The loss, averaged over steps and batch."""
        _check_target(logits_TBK, target)
        values = _at_least_single(logits_TBK)
        repeats = [values.shape[0]] + [1] * (target.dim() - 1)
        entropy = F.cross_entropy(
            values.flatten(0, 1), target.repeat(repeats), label_smoothing=self.label_smoothing
        )
        level = (values - self.means).square().mean()
        return (1 - self.weight) * entropy + self.weight * level


Loss: TypeAlias = CrossEntropy | TET


def _at_least_single(values: Tensor) -> Tensor:
    """Half precision as float32: a sum of exponentials needs it."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check_smoothing(value: float) -> None:
    if not 0 <= value < 1:
        raise UserError(f"label_smoothing must be in [0, 1), got {value}")


def _check_target(logits_TBK: Tensor, target: Tensor) -> None:
    if logits_TBK.dim() != 3:
        raise ValueError(f"a loss takes class values [T, B, K], got {list(logits_TBK.shape)}")
    _, batch, classes = logits_TBK.shape
    wanted = [batch, classes] if target.is_floating_point() else [batch]
    if list(target.shape) != wanted:
        raise ValueError(
            f"target is {list(target.shape)} {target.dtype}; for class values "
            f"{list(logits_TBK.shape)} give indices [{batch}] or probabilities [{batch}, {classes}]"
        )
