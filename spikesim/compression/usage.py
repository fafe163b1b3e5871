"""How often each weight is used: the synaptic operations of a single connection, on data."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.compression.layers import Weighted, weighted
from spikesim.errors import UserError
from spikesim.probe import evaluating


def uses(layer: Weighted, x: Tensor) -> Tensor:
    """How many non-zero inputs of ``x`` each weight meets, float64, as ``layer.weight``.

    A map is linear in its weights: what a weight meets is the derivative of the sum of all outputs,
    on an input of ones and zeros, whatever the stride, padding, groups or dilation.

    >>> uses(nn.Linear(2, 1), torch.tensor([[1.0, 0.0], [0.5, 0.0]])).tolist()
    [[2.0, 0.0]]
    """
    weight = torch.zeros_like(layer.weight, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        spikes = (x != 0).double()
        made = (
            F.linear(spikes, weight)
            if isinstance(layer, nn.Linear)
            else layer._conv_forward(spikes, weight, None)
        )
        (met,) = torch.autograd.grad(made.sum(), weight)
    return met


def usage(model: nn.Module, batches: Iterable[Tensor | tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """Operations of each weight of each linear layer and convolution, means per sample.

    Their sum over a layer's non-zero weights is its effective operations in
    :func:`spikesim.energy.estimate`; a weight that is pruned saves exactly its own. Calls of the
    layer itself are seen: where another module reads its weight (``out_proj`` of
    ``nn.MultiheadAttention``) there are none.

    Args:
        model: run in evaluation mode.
        batches: inputs ``[T, B, ...]``, or tuples that begin with one, such as a loader's.

    Raises:
        UserError: no batch.
    """
    layers, like = weighted(model), next(model.parameters())
    total = {name: torch.zeros_like(m.weight, dtype=torch.float64) for name, m in layers.items()}
    samples = 0

    def watching(name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def watch(layer: Any, inputs: tuple[Any, ...]) -> None:
            total[name] += uses(layer, inputs[0])

        return watch

    with evaluating(model), ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(watching(name)).remove)
        for batch in batches:
            x = batch if isinstance(batch, Tensor) else batch[0]
            model(x.to(like))  # its device and precision
            samples += x.shape[1]
    if not samples:
        raise UserError("no batch to see how weights are used; give at least one [T, B, ...]")
    return {name: met / samples for name, met in total.items()}
