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
        weight = next(value for value in self.weights.values() if value.is_floating_point())
        # A tensor: a CUDA graph of the blend reads it anew in each replay.
        self._share = torch.zeros((), dtype=weight.dtype, device=weight.device)

    def update(self, model: nn.Module) -> None:
        """Move towards the model's weights; call after each optimizer step."""
        self.count()
        self.blend(model)

    def count(self) -> None:
        """Begin the next update: its number and share, but no weights yet."""
        self.updates += 1
        self._share.fill_(1 - min(self.decay, (1 + self.updates) / (10 + self.updates)))

    @torch.no_grad()
    def blend(self, model: nn.Module) -> None:
        """The work of an update on the weights; reads nothing from the host."""
        averages, values = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.weights[name])
                values.append(value)
            else:
                self.weights[name].copy_(value)
        # All weights in three calls; one call each would be launches without end.
        ways = torch._foreach_sub(values, averages)
        torch._foreach_mul_(ways, self._share)
        torch._foreach_add_(averages, ways)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        """Continue from saved averages."""
        self.updates = updates
        for name, value in weights.items():
            self.weights[name].copy_(value)
