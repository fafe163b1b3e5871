"""How many operations layers with delays do: a spike counts where it arrives within the run."""

from typing import Any

import torch
from torch import Tensor

from spikesim.delays import DelayedConv1d, DelayedConv2d, DelayedLinear, DelayedRecurrent, delayed
from spikesim.energy.count import Operations, values_of


def count_delayed(
    layer: DelayedLinear | DelayedConv1d | DelayedConv2d, inputs: tuple[Any, ...], output: Any
) -> list[Operations]:
    """Each non-zero input times the weights that it reaches; dense, as if no delay were too long.

    The layer's map of zeros and ones adds up what it does.
    """
    x: Tensor = inputs[0]
    delay, weight = layer.delay_steps().double(), layer.weight.detach()
    every = layer.mapped(
        torch.ones_like(x[:1, :1]).double(), torch.ones_like(weight).double(), 0 * delay
    )
    reached = layer.mapped((x != 0).double(), (weight != 0).double(), delay)
    return [_operations(x, float(every.sum()) * x.shape[0] * x.shape[1], reached)]


def count_recurrent(
    layer: DelayedRecurrent, inputs: tuple[Any, ...], output: Tensor
) -> list[Operations]:
    """Each of the layer's own spikes times the neurons that it comes back to."""
    weight = layer.weight.detach()
    reached = delayed(
        (output != 0).double(),
        (weight != 0).double(),
        layer.delay_steps().double(),
        layer.width,
        max_delay=layer.steps,
        rounded=True,
    )
    dense = float(weight.numel()) * output.shape[0] * output.shape[1]
    # A step later than the map of the delays alone.
    return [_operations(output, dense, reached[:-1])]


def _operations(x: Tensor, dense: float, reached: Tensor) -> Operations:
    return Operations(
        part="",
        dense=dense,
        effective=float(reached.sum()),
        values=values_of(x),
        nonzero=float(torch.count_nonzero(x)),
        elements=x.numel(),
    )
