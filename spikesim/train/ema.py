"""Exponential moving average of the weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class EMA:
    r"""Averaged weights :math:`\bar w \leftarrow d\, \bar w + (1 - d)\, w` beside a model.

    The decay of update :math:`n = 1, 2, ...` is :math:`d = \min(\mathrm{decay}, (1+n)/(10+n))`,
    so that a short run is not dominated by its first weights (as in TensorFlow's moving average).
    Batch statistics are averaged too; whole numbers (counters) are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's weights; call after each optimizer step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        """Continue from saved averages."""
        self.updates = updates
        for name, value in weights.items():
            self.weights[name].copy_(value)
