"""What one call of a layer does, as a rule tells it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from spikesim.energy.fan_out import FanOut


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one call does, over its whole batch and all of its steps; a line of the table.

    Args:
        kind: see :class:`~spikesim.energy.layer.LayerCounts`.
        part: which part of the module, empty for its only one.
        macs: products of a factor with a weight or with another factor, zero or not.
        factors: what entered: an input, or both factors of a product of activations. One that is
            binary makes the operations accumulations.
        fan_out: how many weights other than zero an element of the first factor meets, ``[*F]``,
            its last dimensions.
        effective: operations without a zero factor, in place of ``fan_out``: a number, or an array
            whose first dimensions are those of the call; all ``macs`` if neither is given.
        done: instead, products of which each other than zero is an operation.
        inputs: values that entered, if not all elements of the factors.
        output: what a product gave.
        emitted: what a neuron or an activation function gave, of which zeros are counted.
        weight: of the connection.
        bias: parameters that are added.
        additions: additions, subtractions and comparisons outside of products.
        multiplications: products and divisions outside of these.
        functions: exponentials, roots and the like.
        states: variables that a neuron reads and writes in an update.
        is_spiking: whether what a neuron gives is spikes.
        note: what the reader should know.
    """

    kind: str
    part: str = ""
    macs: float = 0.0
    factors: tuple[Tensor, ...] = ()
    fan_out: Tensor | FanOut | None = None
    effective: Tensor | float | None = None
    done: Tensor | None = None
    inputs: float | None = None
    output: Tensor | None = None
    emitted: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    additions: float = 0.0
    multiplications: float = 0.0
    functions: float = 0.0
    states: int = 0
    is_spiking: bool = True
    note: str = ""


Rule: TypeAlias = Callable[[Any, tuple[Any, ...], Any], Cost | Iterable[Cost]]
"""Counts one call of a layer from the layer, what entered and what left."""


def product(a: Tensor, b: Tensor, part: str = "", output: Tensor | None = None) -> Cost:
    """A matrix product ``a [..., I, K] @ b [..., K, J]`` of activations.

    Element ``k`` of a column of ``a`` meets element ``k`` of a row of ``b``: what is not zero in
    both is done.
    """
    columns = (a != 0).sum(-2, dtype=torch.float64)  # [..., K]
    rows = (b != 0).sum(-1, dtype=torch.float64)  # [..., K]
    return Cost(
        kind="attention",
        part=part,
        macs=float(a.numel() * b.shape[-1]),
        factors=(a, b),
        effective=(columns * rows).sum(-1),
        output=output,
    )
