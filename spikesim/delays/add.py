"""Delays for a model that has none."""

from typing import TypeVar

from torch import nn

from spikesim.conv import FewChannelConv2d, int_padding
from spikesim.delays.conv import DelayedConv1d, DelayedConv2d
from spikesim.delays.layer import NARROW, Delayed, Kind
from spikesim.delays.linear import DelayedLinear
from spikesim.errors import UserError
from spikesim.kernels.delay_taps import Shape
from spikesim.recurrent import Recurrent

Model = TypeVar("Model", bound=nn.Module)

CONVS: dict[type[nn.Module], type[DelayedConv1d | DelayedConv2d]] = {
    nn.Conv1d: DelayedConv1d,
    nn.Conv2d: DelayedConv2d,
    FewChannelConv2d: DelayedConv2d,
}


def add_delays(
    model: Model,
    *,
    max_delay: float,
    up_to: float | None = None,
    delays: Kind = "synapse",
    shape: Shape = "gauss",
    width: float = NARROW,
    dt: float = 1.0,
) -> Model:
    """Let each linear layer and convolution of a model learn delays, in place.

    Weights and biases stay the same parameters. Each such layer must be called with the whole
    sequence ``[T, B, ...]``, or stand in a :class:`~spikesim.layers.TimeDistributed`; the map of a
    :class:`~spikesim.recurrent.Recurrent`, which sees single steps, is left as it is. Make the
    optimiser afterwards: one from before does not know the delays
    (:func:`~spikesim.delays.groups.parameter_groups`).

    Args:
        model: any module that has one.
        max_delay: the largest delay, in the unit of ``dt``.
        up_to: delays are drawn uniformly from 0 to this, by default ``max_delay``; 0 leaves what
            the model answers in evaluation as it was.
        delays, shape, width, dt: see :class:`~spikesim.delays.layer.Delayed`.

    Returns:
        ``model``; of a model that is a single layer, the layer that takes its place.

    Raises:
        UserError: no such layer, a number out of its range, or a convolution with other padding
            than zeros on both sides.

    >>> import torch
    >>> from spikesim.neurons import LIF
    >>> model = nn.Sequential(nn.Linear(3, 8), LIF(), nn.Linear(8, 2))
    >>> model = add_delays(model, max_delay=10)
    >>> model(torch.zeros(20, 1, 3)).shape
    torch.Size([20, 1, 2])
    """

    if up_to is not None and not 0 <= up_to <= max_delay:
        raise UserError(f"up_to must be from 0 to max_delay={max_delay:g}, got {up_to}")

    def delayed(layer: nn.Module, name: str) -> Delayed:
        made: Delayed
        if isinstance(layer, nn.Linear):
            made = DelayedLinear(
                layer.in_features,
                layer.out_features,
                max_delay=max_delay,
                delays=delays,
                shape=shape,
                width=width,
                dt=dt,
            )
        else:
            assert isinstance(layer, nn.Conv1d | nn.Conv2d)
            padding = int_padding(layer)
            if padding is None:
                raise UserError(f"{name or 'model'} does not pad with zeros on both sides alike")
            made = CONVS[type(layer)](
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                layer.stride,
                padding,
                layer.dilation,
                layer.groups,
                max_delay=max_delay,
                delays=delays,
                shape=shape,
                width=width,
                dt=dt,
            )
        if up_to is not None:
            nn.init.uniform_(made.delay, 0.0, up_to)
        made.to(layer.weight)
        made.weight, made.bias = layer.weight, layer.bias  # type: ignore[assignment]
        return made.train(layer.training)

    found = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if type(module) is nn.Linear or type(module) in CONVS
    }
    lateral = {id(m.lateral) for m in model.modules() if isinstance(m, Recurrent)}
    made = {
        id(module): delayed(module, name)
        for name, module in {id(m): (n, m) for n, m in found.items()}.values()
        if id(module) not in lateral
    }
    if not made:
        raise UserError("no linear layer and no convolution in this model could have delays")
    if "" in found:
        return made[id(found[""])]  # type: ignore[return-value]
    for name, module in found.items():
        if id(module) in made:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, made[id(module)])
    return model
