"""Direct code: the value itself as a constant current; the first layer makes the spikes."""

from dataclasses import dataclass

from torch import Tensor

from spikesim.encoders.base import Encoder, check_float


@dataclass(frozen=True)
class Direct(Encoder):
    """Direct code: the same analogue value in each step, differentiable.

    Args:
        steps: number of steps T.

    Shape: ``x [B, ...]``, any values -> ``[T, B, ...]``, a view of ``x`` that takes no memory.

    Raises:
        UserError: ``x`` is not floating point, or has no batch axis.

    Reference: Rueckauer et al. (2017), analogue input to the first layer.

    >>> import torch
    >>> Direct(steps=2)(torch.tensor([0.25])).tolist()
    [[0.25], [0.25]]
    """

    def __call__(self, x: Tensor) -> Tensor:
        """``x [B, ...]`` repeated to ``[T, B, ...]``."""
        check_float(x, "B")
        return x.expand(self.steps, *x.shape)
