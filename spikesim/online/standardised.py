r"""Linear maps with scaled weight standardisation, which stands in for batch norm online.

Statistics over steps are what online training cannot have. Here the weights of each output have
mean 0 and a fixed norm instead, with a learned gain :math:`\gamma` (at first 1):

.. math:: \hat W_{ji} = c \gamma_j \frac{W_{ji} - \mu_j}{\sqrt{M \sigma_j^2 + \epsilon}}

over the :math:`M` inputs of output :math:`j`; :math:`c` makes up for the small variance of spikes.

Reference: Brock et al. (2021), *Characterizing signal propagation to close the performance gap in
unnormalized ResNets*; with ``scale=2.74`` behind all neurons in OTTT (Xiao et al., 2022).
"""

from typing import Any

import torch
from torch import Tensor, nn

from spikesim.errors import UserError

EPSILON = 1e-4


def standardised(weight: Tensor, gain: Tensor, scale: float) -> Tensor:
    """The map's weight :math:`\\hat W` ``[out, ...]``, of ``gain`` ``[out]``."""
    flat = weight.flatten(1)
    variance, mean = torch.var_mean(flat, 1, keepdim=True)
    size = scale * gain[:, None] * torch.rsqrt(variance * flat.shape[1] + EPSILON)
    used: Tensor = (flat - mean) * size
    return used.view(weight.shape)


class ScaledWSLinear(nn.Linear):
    """``nn.Linear`` whose weight is standardised over its inputs.

    Args:
        in_features, out_features, bias: as of ``nn.Linear``.
        scale: :math:`c`, > 0.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, scale: float = 1.0
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.scale, self.gain = _checked(scale), nn.Parameter(torch.ones(out_features))

    def standardised(self) -> Tensor:
        """The weight that is used."""
        return standardised(self.weight, self.gain, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` -> ``[..., out]``."""
        return nn.functional.linear(x, self.standardised(), self.bias)


class ScaledWSConv2d(nn.Conv2d):
    """``nn.Conv2d`` whose weight is standardised over each output's window.

    Args:
        args, kwargs: as of ``nn.Conv2d``.
        scale: :math:`c`, > 0.
    """

    def __init__(self, *args: Any, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale, self.gain = _checked(scale), nn.Parameter(torch.ones(self.out_channels))

    def standardised(self) -> Tensor:
        """The weight that is used."""
        return standardised(self.weight, self.gain, self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same kind."""
        y: Tensor = self._conv_forward(x, self.standardised(), self.bias)
        return y


def _checked(scale: float) -> float:
    if not scale > 0:
        raise UserError(f"scale must be > 0, got {scale}")
    return scale
