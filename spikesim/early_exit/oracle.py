"""What a perfect decision when to stop would reach: bounds for any early exit."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from spikesim.early_exit.calibration import check_targets
from spikesim.early_exit.confidence import confidences
from spikesim.errors import UserError


@dataclass(frozen=True)
class Oracle:
    """When each sample stopped, ``[B]``, 1 to ``T``, and whether it was right then, ``[B]``."""

    steps: Tensor
    right: Tensor

    @property
    def latency(self) -> float:
        """Mean number of steps."""
        return float(self.steps.double().mean())

    @property
    def accuracy(self) -> float:
        """Fraction of right predictions."""
        return float(self.right.double().mean())


def oracle(outputs: Tensor, targets: Tensor, kind: Literal["first", "settled"] = "first") -> Oracle:
    """Stop each sample at the best step, which takes knowing its class.

    ``"first"`` stops at the first right prediction. No rule is right more often, and one that is
    right as often has no less latency; it takes luck along, so its accuracy is above that of all
    steps. ``"settled"`` stops at the first step from which the prediction is right to the end: the
    accuracy is that of all steps. Samples that never get there stop at once: waiting is no use.

    Args:
        outputs: of each step, ``[T, B, K]``.
        targets: true classes, ``[B]``.
        kind: one of the above.

    Raises:
        UserError: another kind, outputs or targets of another form.

    >>> import torch
    >>> outputs = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 0.0]]])  # sums say 0, 1, 0
    >>> [oracle(outputs, torch.tensor([0]), kind).latency for kind in ("first", "settled")]
    [1.0, 3.0]
    """
    if kind not in ("first", "settled"):
        raise UserError(f"kind must be 'first' or 'settled', got {kind!r}")
    check_targets(outputs, targets)
    right = confidences(outputs, 1.0)[1] == targets  # alpha changes no class
    if kind == "settled":
        right = right.flip(0).int().cummin(0).values.flip(0).bool()
    return Oracle(right.int().argmax(0) + 1, right.any(0))
