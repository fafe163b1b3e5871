"""Ordinary torch layers over time, and the choice of neuron that models share.

Shape legend: ``T`` steps, ``B`` batch, ``C`` channels, ``H, W`` map; time first.
"""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

from spikesim.errors import UserError, nearest
from spikesim.neurons import ALIF, CUBALIF, IF, ILIF, LIF, PLIF
from spikesim.surrogate import (
    ATan,
    FastSigmoid,
    Gaussian,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Surrogate,
    Triangle,
)

NeuronFactory: TypeAlias = Callable[[float], nn.Module]
"""Makes one spiking layer from its threshold; called once per layer."""


class TimeDistributed(nn.Sequential):
    """Ordinary torch layers applied to every step alike: they see ``[T * B, ...]``.

    Batch statistics are therefore taken over steps and batch together.

    Shape: ``[T, B, ...]`` -> ``[T, B, ...]``.

    Raises:
        ValueError: the input has fewer than three dimensions.

    >>> import torch
    >>> TimeDistributed(nn.Linear(3, 2))(torch.zeros(4, 5, 3)).shape
    torch.Size([4, 5, 2])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Flatten time into the batch, apply the layers, restore time."""
        if x.dim() < 3:
            raise ValueError(f"input is {list(x.shape)}; expected [T, B, ...]: add a batch of 1")
        out = x.flatten(0, 1)
        for layer in self:
            out = layer(out)
        return out.view(x.shape[0], x.shape[1], *out.shape[1:])


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool = False
) -> TimeDistributed:
    """A convolution that keeps the map's size at stride 1, and its batch norm, over time.

    A kernel of 1 is a linear map over channels, shared by all tokens.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
    return TimeDistributed(conv, nn.BatchNorm2d(out_channels))


def neuron_factory(
    kind: str | NeuronFactory = "lif", *, threshold: float = 1.0, surrogate: str = "sigmoid"
) -> NeuronFactory:
    """The neuron of a model: a name, or any callable from a threshold to a spiking module.

    The defaults are the neuron of Spikformer (Zhou et al., 2023) and of the spike-driven
    transformer (Yao et al., 2023): LIF with time constant 2 steps, decayed input, reset to 0
    outside the gradient, sigmoid surrogate with slope 4. ``"lif_soft"``, ``"plif"``, ``"if"``,
    ``"alif"`` and ``"cuba_lif"`` change what their names say and keep the rest. ``"ilif"`` emits
    0 to 4 spikes a step, so what follows it is not binary.

    Args:
        kind: one of the names above, or a callable, which is used as it is.
        threshold: multiplies each threshold that a model asks for, > 0.
        surrogate: ``"sigmoid"``, ``"atan"``, ``"fast_sigmoid"``, ``"triangle"``, ``"rectangle"``,
            ``"gaussian"`` or ``"multi_gaussian"``.

    Raises:
        UserError: an unknown name, or a threshold not above 0.

    >>> neuron_factory("lif", threshold=0.5, surrogate="atan")(1.0).v_threshold
    0.5
    """
    if callable(kind):
        return kind
    if kind not in _NEURONS:
        raise UserError(f"no neuron {kind!r} for models{nearest(kind, tuple(_NEURONS))}")
    if surrogate not in _SURROGATES:
        raise UserError(f"no surrogate {surrogate!r}{nearest(surrogate, tuple(_SURROGATES))}")
    if not threshold > 0:
        raise UserError(f"threshold must be > 0, got {threshold}")
    make, gradient = _NEURONS[kind], _SURROGATES[surrogate]
    return lambda v_threshold: make(threshold * v_threshold, gradient)


_SURROGATES: dict[str, Surrogate] = {
    "sigmoid": Sigmoid(alpha=4.0),
    "atan": ATan(alpha=2.0),
    "fast_sigmoid": FastSigmoid(),
    "triangle": Triangle(),
    "rectangle": Rectangle(),
    "gaussian": Gaussian(),
    "multi_gaussian": MultiGaussian(),
}

_NEURONS: dict[str, Callable[[float, Surrogate], nn.Module]] = {
    "lif": lambda v, g: LIF(2.0, v, detach_reset=True, surrogate=g),
    "lif_soft": lambda v, g: LIF(2.0, v, None, detach_reset=True, surrogate=g),
    "plif": lambda v, g: PLIF(2.0, v, detach_reset=True, surrogate=g),
    "if": lambda v, g: IF(v, detach_reset=True, surrogate=g),
    "alif": lambda v, g: ALIF(2.0, 20.0, v, detach_reset=True, surrogate=g),
    "cuba_lif": lambda v, g: CUBALIF(2.0, 2.0, v, detach_reset=True, surrogate=g),
    "ilif": lambda v, g: ILIF(v_threshold=v, detach_reset=True),
}
