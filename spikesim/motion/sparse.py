"""Kernels of delayed weights with fewer synapses."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from spikesim.errors import UserError


def pruned(weight: Tensor, keep: int) -> Tensor:
    """The ``keep`` largest weights by magnitude of all, and 0 elsewhere.

    Raises:
        UserError: ``keep`` is not in 0 to the number of weights.

    >>> import torch
    >>> pruned(torch.tensor([[0.5, -2.0], [0.1, 1.0]]), 2).tolist()
    [[0.0, -2.0], [0.0, 1.0]]
    """
    if not 0 <= keep <= weight.numel():
        raise UserError(f"keep must lie in 0 to {weight.numel()}, got {keep}")
    sparse = weight.new_zeros(weight.numel())
    largest = weight.detach().flatten().abs().topk(keep).indices
    sparse[largest] = weight.detach().flatten()[largest]
    return sparse.view_as(weight)


def shortened(weight: Tensor, delays: int) -> Tensor:
    """``weight [C, P, D, h, w]`` with the shortest ``delays`` only, and 0 for longer ones.

    Raises:
        UserError: ``delays`` is not in 0 to D.
    """
    if not 0 <= delays <= weight.shape[2]:
        raise UserError(f"delays must lie in 0 to {weight.shape[2]}, got {delays}")
    short = weight.detach().clone()
    short[:, :, delays:] = 0
    return short


def half_saturation(
    synapses: Sequence[float], accuracy: Sequence[float], chance: float
) -> float | None:
    """With how many synapses accuracy has come half the way from chance to its peak.

    The last crossing, in straight lines over the logarithm of ``synapses`` (increasing, > 0);
    ``None`` if accuracy never was below.

    >>> half_saturation([1, 100], [0.0, 1.0], chance=0.0)
    10.0
    """
    above = np.asarray(accuracy) - (chance + max(accuracy)) / 2
    below = np.flatnonzero(above < 0)
    if not below.size or below[-1] + 1 == len(above):
        return None
    i = int(below[-1])
    share = -above[i] / (above[i + 1] - above[i])
    low, high = np.log(synapses[i]), np.log(synapses[i + 1])
    return round(float(np.exp(low + share * (high - low))), 6)
