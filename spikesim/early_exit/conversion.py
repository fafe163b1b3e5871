"""From a network of quantised activations to integrate-and-fire neurons that count up to them."""

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons import IF
from spikesim.types import Named, Number

SMALLEST = 1e-8
"""Of a step."""


class Levels(nn.Module):
    r"""Activation with ``2**bits - 1`` equal steps above 0, whose height is learned.

    .. math:: y = s \; \mathrm{round}(\mathrm{clip}(x / s, 0, 2^b - 1))

    Gradients pass the rounding unchanged; that of the scale is divided by
    :math:`\sqrt{n (2^b - 1)}`, with :math:`n` values a sample.

    Args:
        bits: :math:`b`, >= 1.
        scale: :math:`s` at first, in the unit of the input, > 0.

    Shape: any -> the same.

    Raises:
        UserError: a number out of its range.

    Reference: Esser et al. (2020), *Learned step size quantization*, ICLR, equations 1 to 3.

    >>> Levels(bits=2, scale=0.5)(torch.tensor([-1.0, 0.3, 0.9, 9.0])).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """

    def __init__(self, bits: int = 2, scale: float = 0.5) -> None:
        super().__init__()
        if bits < 1 or not scale > 0:
            raise UserError(f"bits must be >= 1 and scale > 0, got {bits} and {scale}")
        self.top = 2**bits - 1
        self.scale = nn.Parameter(torch.tensor(scale))

    def size(self) -> Tensor:
        """The step as it counts, > 0: training may take ``scale`` through 0."""
        return self.scale.abs().clamp_min(SMALLEST)

    def forward(self, x: Tensor) -> Tensor:
        """The nearest level."""
        share = (x[0].numel() * self.top) ** -0.5
        scale = self.size() * share + (self.size() * (1 - share)).detach()
        clipped = (x / scale).clamp(0, self.top)
        nearest: Tensor = scale * (clipped + (clipped.round() - clipped).detach())
        return nearest


class HalfChargedIF(IF):
    r"""Integrate-and-fire neuron with soft reset that starts halfway to its threshold.

    Of a constant input ``x`` it makes
    :math:`\mathrm{clip}(\lfloor T x / \theta + 1/2 \rfloor, 0, T)` spikes in ``T`` steps, the
    rounded count.

    Reference: Bu et al. (2022), *Optimal ANN-SNN conversion for high-accuracy and
    ultra-low-latency spiking neural networks*, ICLR.

    >>> HalfChargedIF(1.0)(torch.full((4, 1, 1), 0.4)).flatten().tolist()  # round(1.6)
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, v_threshold: Number = 1.0) -> None:
        super().__init__(v_threshold, None)

    def initial(self, p: Named) -> dict[str, Number]:
        """Half the threshold."""
        return {**super().initial(p), "v": p.v_threshold * 0.5}


def to_spiking(layers: Iterable[nn.Module]) -> nn.Sequential:
    r"""A trained row of layers as a spiking network with the same answers after enough steps.

    Each :class:`Levels` becomes a :class:`HalfChargedIF` with the highest level as threshold
    :math:`\theta`. Its spikes are 0 or 1: the weights after it are multiplied by :math:`\theta`.
    Batch norm is folded into the convolution before it.

    Args:
        layers: ``nn.Conv2d``, ``nn.BatchNorm2d`` after one, ``nn.Linear``, ``nn.Flatten`` and
            ``Levels``, the last one a map.

    Returns:
        ``[T, B, ...]`` -> outputs ``[T, B, K]`` of each step, in evaluation mode; the input is the
        same in all steps.

    Raises:
        UserError: another module, named, or levels without a map behind them.

    Reference: Bu et al. (2022); Li, Jones and Furber (2023), published program.
    """
    made: list[nn.Module] = []
    maps: list[nn.Module] = []
    height = 1.0  # of the spikes that no map has taken in yet
    for module in layers:
        if isinstance(module, Levels):
            if height != 1.0:
                raise UserError("Levels follows Levels; put an nn.Linear or nn.Conv2d between them")
            height = float(module.size().detach()) * module.top
            made += [TimeDistributed(*maps), HalfChargedIF(height)]
            maps = []
        elif isinstance(module, nn.BatchNorm2d) and maps and isinstance(maps[-1], nn.Conv2d):
            maps[-1] = fuse_conv_bn_eval(maps[-1].eval(), deepcopy(module).eval())
        elif isinstance(module, nn.Conv2d | nn.Linear):
            maps.append(_scaled(module, height))
            height = 1.0
        elif isinstance(module, nn.Flatten):
            maps.append(deepcopy(module))
        else:
            raise UserError(
                f"{type(module).__name__} has no spiking counterpart here; use nn.Conv2d, "
                "nn.BatchNorm2d after it, nn.Linear, nn.Flatten and Levels"
            )
    if height != 1.0:
        raise UserError("the last layer must be an nn.Linear or nn.Conv2d, whose outputs are read")
    return nn.Sequential(*made, TimeDistributed(*maps)).eval()


def _scaled(module: nn.Conv2d | nn.Linear, height: float) -> nn.Conv2d | nn.Linear:
    copy = deepcopy(module)
    with torch.no_grad():
        copy.weight.mul_(height)
    return copy
