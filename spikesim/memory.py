"""Binary activations kept as one bit a value until the backward pass.

A convolution or linear map keeps its input for the gradient of its weight. Where that input is
spikes, a bit a value says the same as 2 or 4 bytes do: :func:`pack_spikes` finds those layers and
makes them keep bits. Outputs, gradients and checkpoints are the same as without, bit for bit.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from spikesim.attention import SSA
from spikesim.conv import FewChannelConv2d, int_padding
from spikesim.counts import Largest, followed
from spikesim.errors import UserError, nearest
from spikesim.packed import (
    Packed,
    PackedConv1d,
    PackedConv2d,
    PackedConv3d,
    PackedFewChannelConv2d,
    PackedLinear,
    PackedSSA,
)
from spikesim.random import Placed

Model = TypeVar("Model", bound=nn.Module)

_PACKED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: PackedLinear,
    nn.Conv1d: PackedConv1d,
    nn.Conv2d: PackedConv2d,
    FewChannelConv2d: PackedFewChannelConv2d,
    nn.Conv3d: PackedConv3d,
    SSA: PackedSSA,
}
_PLAIN = {packed: plain for plain, packed in _PACKED.items()}


def pack_spikes(
    model: Model, x: Tensor | None = None, *, check: bool = False, skip: Collection[str] = ()
) -> Model:
    """Make every convolution, linear map and spiking self-attention keep its spikes as bits.

    Which these are is read off one run of the model on ``x``, in training mode and without
    gradients, by following what neurons emit through every operation, never by looking at values.
    A layer whose input is small counts (a sum of spikes, integer neurons) keeps one byte a value.
    The first map of a model, which a :class:`~spikesim.conv.FewChannelConv2d` makes of a few
    channels in next to no time, is not kept for the neuron after it, but made again.
    The model is changed in place; parameters, buffers, modes and random numbers stay as they are.

    Works with autocast, half precision, channels-last, activation checkpointing, and, if they
    come after it, distributed training and ``torch.compile``. Second derivatives through a packed
    layer are refused, and so is ``torch.func.vmap``.

    Args:
        model: any module; layers of exactly ``nn.Linear``, ``nn.Conv1d`` to ``nn.Conv3d`` and
            ``FewChannelConv2d`` are considered, not their subclasses.
        x: an input to follow, such as zeros of two samples; a
            :class:`~spikesim.models.base.SpikingModel` knows its own.
        check: look at the values in every call, and raise where they are not what they should
            be. For debugging: it waits for the device.
        skip: names of layers to leave alone.

    Returns:
        ``model``; what is packed shows in ``print(model)`` and :func:`packed_layers`.

    Raises:
        UserError: no ``x`` for a model that needs one; an unknown name in ``skip``; with
            ``check``, later, a layer whose input is not spikes, named.

    >>> from spikesim.neurons import LIF
    >>> model = nn.Sequential(nn.Linear(3, 8), LIF(), nn.Linear(8, 2))
    >>> packed_layers(pack_spikes(model, torch.zeros(4, 2, 3)))
    {'2': 1}
    """
    unpack_spikes(model)
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) in _PACKED
        and not (isinstance(layer, nn.modules.conv._ConvNd) and int_padding(layer) is None)
    }
    for name in skip:
        if name not in layers:
            raise UserError(f"no layer {name!r} to skip{nearest(name, list(layers))}")
    for name, largest in _inputs(model, layers, _example(model, x)).items():
        if largest is not None and name not in skip:
            layer: Any = layers[name]
            layer.__class__ = _PACKED[type(layer)]
            layer.largest, layer.layer, layer.check = largest, name, check
    for module in model.modules():
        if isinstance(module, FewChannelConv2d):
            module.is_made_again = True
    return model


def unpack_spikes(model: Model) -> Model:
    """Undo :func:`pack_spikes`, in place."""
    layer: Any
    for layer in model.modules():
        if type(layer) in _PLAIN:
            del layer.largest, layer.layer, layer.check
            layer.__class__ = _PLAIN[type(layer)]
        if isinstance(layer, FewChannelConv2d):
            layer.is_made_again = False
    return model


def packed_layers(model: nn.Module) -> dict[str, int]:
    """Name of each packed layer -> largest value of its input; 1 is kept as bits, else bytes."""
    return {
        name: layer.largest for name, layer in model.named_modules() if isinstance(layer, Packed)
    }


def _example(model: nn.Module, x: Tensor | None) -> Tensor:
    if x is not None:
        return x
    steps, shape = getattr(model, "steps", None), getattr(model, "input_shape", None)
    if steps is None or shape is None:
        raise UserError(
            f"{type(model).__name__} does not say what it takes; give an example, "
            "pack_spikes(model, torch.zeros(T, 2, ...))"
        )
    weight = next(model.parameters())
    return torch.zeros(steps, 2, *shape, dtype=weight.dtype, device=weight.device)


def _inputs(model: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> dict[str, Largest]:
    """For each layer that runs, the largest value of its input over all its calls."""
    seen: dict[str, Largest] = {}
    with _unchanged(model), followed(model) as following:

        def note(name: str, inputs: tuple[Tensor, ...]) -> None:
            found = [following.largest(value) for value in inputs]
            largest = None if None in found else max(v for v in found if v is not None)
            before = seen.get(name, largest)
            seen[name] = None if before is None or largest is None else max(before, largest)

        handles = [
            layer.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs))
            for name, layer in layers.items()
        ]
        try:
            buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
            torch.func.functional_call(model, buffers, (x,))
        finally:
            for handle in handles:
                handle.remove()
    return seen


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Training mode without gradients; modes and places in random streams are as before after."""
    modes = {module: module.training for module in model.modules()}
    drawn = [m.position for m in model.modules() if isinstance(m, Placed) and m.stochastic]
    places = [position.clone() for position in drawn]
    devices = {p.device for p in model.parameters() if p.is_cuda}
    model.train()
    try:
        # What is compiled would run as one operation, which nothing can be followed through.
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices),
            torch.compiler.set_stance("force_eager"),
        ):
            yield
    finally:
        for position, place in zip(drawn, places, strict=True):
            position.copy_(place)
        for module, training in modes.items():
            module.training = training
