"""Ordinary torch layers over time, and the choice of neuron that models share.

Shape legend: ``T`` steps, ``B`` batch, ``C`` channels, ``H, W`` map; time first.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.conv import FewChannelConv2d
from spikesim.counts import emitted
from spikesim.delays.layer import Delayed
from spikesim.errors import UserError, nearest
from spikesim.forgotten import making_again
from spikesim.kernels.few_channels import CHANNELS
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, IF, ILIF, LIF, PLIF
from spikesim.pool import AfterNeuron, MaxPool2d
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


POOLING_BACKENDS = ("cupy",)
"""Where a pooling is run with the neuron before it; torch's own is quicker on the CPU."""


class TimeDistributed(nn.Sequential):
    """Ordinary torch layers applied to every step alike: they see ``[T * B, ...]``.

    Batch statistics are therefore taken over steps and batch together. Layers with delays
    (:mod:`spikesim.delays`) may be among them, and see ``[T, B, ...]``.

    Shape: ``[T, B, ...]`` -> ``[T, B, ...]``.

    Raises:
        ValueError: the input has fewer than three dimensions.

    >>> import torch
    >>> TimeDistributed(nn.Linear(3, 2))(torch.zeros(4, 5, 3)).shape
    torch.Size([4, 5, 2])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Flatten time into the batch, apply the layers, restore time."""
        return _over_time(list(self), x)


def _over_time(layers: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    if x.dim() < 3:
        raise ValueError(f"input is {list(x.shape)}; expected [T, B, ...]: add a batch of 1")
    steps, batch = x.shape[:2]
    out = x.flatten(0, 1)
    for layer in layers:
        if isinstance(layer, Delayed):
            late = layer(out.view(steps, batch, *out.shape[1:]))
            steps = late.shape[0]
            out = late.flatten(0, 1)
        else:
            out = layer(out)
    return out.view(steps, batch, *out.shape[1:])


class SpikingSequential(nn.Sequential):
    """Layers in a row, where a batch norm and the neuron right after it run as one operator.

    The pair is a :class:`TimeDistributed` that ends in a :class:`~spikesim.batch_norm.BatchNorm`,
    then a :class:`~spikesim.neuron.Neuron`. A neuron with hooks is called with the norm's input
    and, as a second argument, what the norm does to it (see
    :meth:`Neuron.forward <spikesim.neuron.Neuron.forward>`); the hooks see that. A pair
    with a hook on the norm or on what holds it runs one module after the other: the hook sees
    the normalised values, and the spikes are the same but for the rounding of half precision.

    Shape: ``[T, B, ...]`` -> that of the last layer.

    >>> import torch
    >>> from spikesim.batch_norm import BatchNorm
    >>> layers = SpikingSequential(TimeDistributed(BatchNorm(1)), LIF(v_threshold=0.4))
    >>> layers(torch.tensor([0.0, 1.0, 0.0, 1.0]).view(4, 1, 1)).flatten().tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        """The layers in turn."""
        return in_turn(list(self), x)


def in_turn(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Apply layers as :class:`SpikingSequential` does."""
    place = 0
    while place < len(layers):
        pair = layers[place : place + 2]
        norm = _norm_to_take_over(pair)
        if norm is None:
            x = pair[0](x)
            place += 1
        else:
            maps = list(pair[0].children())[:-1]
            x, left_out, keeping = _before_the_norm(maps, norm, x)
            neuron = cast(Neuron, pair[1])
            after = _pool_to_take_over(layers[place + 1 : place + 3], x)
            with keeping:
                if after is None and _has_hooks(neuron):
                    x = neuron(x, norm.normalisation(x))
                else:
                    x = norm.run(neuron, x, after)
            if left_out is not None:
                norm.follow_bias(left_out)
            place += 2 if after is None else 3
    return x


def _before_the_norm(
    maps: Sequence[nn.Module], norm: BatchNorm, x: Tensor
) -> tuple[Tensor, Tensor | None, AbstractContextManager[Any]]:
    """Maps in turn; the bias of a convolution at their end if it was left out; how to keep both.

    Statistics of a batch would take a bias away again: adding it costs a pass, and its gradient,
    which is zero, one more and memory.
    """
    conv = maps[-1] if maps else None
    if isinstance(conv, nn.Conv2d) and norm.takes_batch and not _has_hooks(conv):
        make = partial(
            _over_time, [*maps[:-1], partial(conv._conv_forward, weight=conv.weight, bias=None)]
        )
        made = make(x)
        keeping = _keeping(maps, made, make, x)
        if conv.bias is not None:
            made = _ZeroGradient.apply(made, conv.bias)  # type: ignore[no-untyped-call]
        return made, conv.bias, keeping
    return _over_time(maps, x) if maps else x, None, nullcontext()


def _keeping(
    maps: Sequence[nn.Module], made: Tensor, make: Callable[[Tensor], Tensor], x: Tensor
) -> AbstractContextManager[Any]:
    """How what comes next keeps the map ``made`` for its gradient."""
    (*before, conv) = maps
    is_again = isinstance(conv, FewChannelConv2d) and conv.is_made_again and not before
    if is_again and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return making_again(made, make, x)
    return nullcontext()


class _ZeroGradient(torch.autograd.Function):
    """An array as it is, and zeros as the gradient of a parameter that it does not depend on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameter: Tensor) -> Tensor:
        ctx.save_for_backward(parameter)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (parameter,) = ctx.saved_tensors
        of_x, of_parameter = ctx.needs_input_grad
        return grads[0] if of_x else None, torch.zeros_like(parameter) if of_parameter else None


def _pool_to_take_over(pair: Sequence[nn.Module], x: Tensor) -> AfterNeuron | None:
    """The pooling right after a neuron, if the neuron's kernel can be run with it."""
    if len(pair) < 2 or not (torch.is_grad_enabled() and x.requires_grad and x.dim() == 5):
        return None
    neuron, after = pair
    if not isinstance(neuron, Neuron) or not isinstance(after, TimeDistributed) or len(after) != 1:
        return None
    if torch.compiler.is_compiling() or neuron.serving(x.device) not in POOLING_BACKENDS:
        return None
    is_seen = any(_has_hooks(module) for module in (neuron, after, after[0]))
    window = after[0].window() if isinstance(after[0], MaxPool2d) and not is_seen else None
    return None if window is None else AfterNeuron(window, binary=emitted(neuron) == 1)


def _norm_to_take_over(pair: Sequence[nn.Module]) -> BatchNorm | None:
    """The batch norm that ends the first module, if the second is a neuron and no hook sees it."""
    if len(pair) < 2 or not isinstance(pair[0], TimeDistributed) or not len(pair[0]):
        return None
    norm = pair[0][-1]
    if not isinstance(norm, BatchNorm) or not isinstance(pair[1], Neuron):
        return None
    return None if _has_hooks(norm) or _has_hooks(pair[0]) else norm


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    bias: bool = False,
    norm: type[nn.BatchNorm2d] = nn.BatchNorm2d,
) -> TimeDistributed:
    """A convolution that keeps the map's size at stride 1, and its batch norm, over time.

    A kernel of 1 is a linear map over channels, shared by all tokens.
    """
    layer = FewChannelConv2d if in_channels <= CHANNELS else nn.Conv2d
    conv = layer(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)
    return TimeDistributed(conv, norm(out_channels))


def conv_bn_neuron(
    in_channels: int,
    out_channels: int,
    kernel: int,
    neuron: nn.Module,
    *,
    stride: int = 1,
    bias: bool = False,
) -> SpikingSequential:
    """As :func:`conv_bn`, then a neuron, which normalises its own input."""
    layer = conv_bn(in_channels, out_channels, kernel, stride=stride, bias=bias, norm=BatchNorm)
    return SpikingSequential(layer, neuron)


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
