"""Which input reaches which synapse of a dendritic branch."""

import math

import torch
from torch import Tensor

from spikesim.errors import UserError


def windows(n_in: int, n_branch: int, synapses: int) -> tuple[Tensor, Tensor]:
    """Overlapping windows over excitatory and inhibitory inputs in turn, as for NeuronIO.

    The halves of the inputs are interleaved (0, n/2, 1, n/2 + 1, ...); branch ``j`` takes
    ``synapses`` of them in a row from ``j * ceil(n_in / n_branch)``. Past the end are silent
    synapses.

    Returns:
        The input of each synapse, and whether it has one, ``[n_branch, synapses]``.

    Raises:
        UserError: the windows leave inputs out.

    >>> source, valid = windows(6, 3, 3)
    >>> source.tolist(), valid[-1].tolist()
    ([[0, 3, 1], [1, 4, 2], [2, 5, 5]], [True, True, False])
    """
    stride = math.ceil(n_in / n_branch)
    if stride > synapses:
        raise UserError(
            f"{n_branch} branches of {synapses} synapses leave some of {n_in} inputs out; give "
            f"each at least {stride} synapses"
        )
    place = torch.arange(n_branch)[:, None] * stride + torch.arange(synapses)
    valid, place = place < n_in, place.clamp(max=n_in - 1)
    # An odd count has one input more in its first half than the published rule, which would
    # name the middle one twice and the last one never.
    return place % 2 * ((n_in + 1) // 2) + place // 2, valid


def random_routing(
    n_in: int, n_branch: int, synapses: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Each synapse listens to an input drawn at random, with replacement.

    Returns:
        The input of each synapse, and whether it has one (all do), ``[n_branch, synapses]``.
    """
    source = torch.randint(n_in, (n_branch, synapses), generator=generator)
    return source, torch.ones_like(source, dtype=torch.bool)
