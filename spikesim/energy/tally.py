"""One look at what enters a layer: how much of it is not zero, and whether it is spikes."""

import math
from functools import cache

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels.backends import serving
from spikesim.kernels.layout import memory_order
from spikesim.kernels.tally import add_tally, count_on_cpu, is_served

NONZERO, WEIGHTED, NOT_BINARY, NOT_WHOLE, SIZE = range(5)
"""Columns of :func:`tally`."""


def tally(x: Tensor, fan_out: Tensor | None = None, groups: int = 1) -> Tensor:
    r"""Count the elements of ``x`` that make a layer work, group by group.

    .. math::
        \Big( \sum_i [x_i \ne 0], \quad \sum_i f_i [x_i \ne 0], \quad
        \sum_i [x_i \notin \{0, 1\}], \quad \sum_i [x_i \notin \mathbb{Z}], \quad \sum_i |x_i| \Big)

    Args:
        x: seen as ``[groups, rows, *F]``; real numbers of any dtype. NaN is neither zero nor whole.
        fan_out: ``f``, ``[*F]``: how many weights an element meets; whole numbers; ``None``: one.
        groups: for how many equal parts of ``x``, one after the other, sums are given: the steps.

    Returns:
        float64 ``[groups, 5]`` on the device of ``x``; counts, and sizes of whole numbers, are
        exact up to 2**53. Nothing waits for a device.

    Raises:
        UserError: ``x`` cannot be seen as ``[groups, rows, *F]``, or is complex.

    >>> x = torch.tensor([[1.0, 0.0, 1.0], [0.5, 2.0, 0.0]])
    >>> tally(x, torch.tensor([4.0, 4.0, 2.0]), groups=2).tolist()
    [[2.0, 6.0, 0.0, 0.0, 2.0], [2.0, 8.0, 2.0, 1.0, 2.5]]
    """
    if fan_out is None:
        fan_out, x = _one(x.device), _outermost_first(x, groups)
    features = fan_out.numel()
    rows, rest = divmod(x.numel(), max(groups * features, 1))
    if groups < 1 or rest or math.prod((groups, rows, features)) != x.numel():
        raise UserError(
            f"a tally of {tuple(x.shape)} needs groups x rows x {tuple(fan_out.shape)}, got "
            f"{groups} groups; give a whole number of rows to each"
        )
    if x.is_complex():
        raise UserError("a tally takes real numbers, got complex ones; give torch.view_as_real(x)")
    x, fan_out = _as_lie(x.detach(), fan_out.detach())
    x, fan_out = x.reshape(groups, rows, features), fan_out.reshape(-1)
    backend = serving("auto", x.device.type)
    if backend == "torch" or not is_served(x) or not x.numel():
        return tally_torch(x, fan_out)
    fan_out = fan_out.to(x.device, torch.float64)
    if backend == "numba":
        return _tally_numba(x.contiguous(), fan_out)
    sums = torch.zeros(groups, 5, dtype=torch.float64, device=x.device)
    add_tally(x, fan_out, sums)
    return sums


def _tally_numba(x: Tensor, fan_out: Tensor) -> Tensor:
    """Spikes in one pass; groups with other values in a second one, by torch."""
    # One fan-out for all is no reason for rows of one element.
    rows = x.view(len(x), 1, -1) if len(fan_out) == 1 else x
    of_feature, odd = count_on_cpu(rows)
    met = of_feature.double() * fan_out
    active = of_feature.sum(1).double()
    sums = torch.stack([active, met.sum(1), odd.double(), torch.zeros_like(met[:, 0]), active], 1)
    for group in odd.nonzero().flatten().tolist():
        sums[group, NOT_WHOLE:] = tally_torch(x[group, None], fan_out)[0, NOT_WHOLE:]
    return sums


@cache
def _one(device: torch.device) -> Tensor:
    return torch.ones((), dtype=torch.float64, device=device)


def _outermost_first(x: Tensor, groups: int) -> Tensor:
    """All but the first dimension, which has the groups, in the order in which they lie."""
    if not x.dim() or groups < 1 or x.shape[0] % groups:
        return x
    return x.permute(0, *(1 + d for d in memory_order(x.stride()[1:])))


def _as_lie(x: Tensor, fan_out: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the dimensions that they share in the order in which those of ``x`` lie."""
    lead = x.dim() - fan_out.dim()
    if lead < 0 or x.shape[lead:] != fan_out.shape:
        return x, fan_out
    order = memory_order(x.stride()[lead:])
    lying = x.permute(*range(lead), *(lead + d for d in order))
    return lying, fan_out.permute(order)


def tally_torch(x: Tensor, fan_out: Tensor) -> Tensor:
    """The reference of :func:`tally`, for ``x`` ``[groups, rows, F]`` and ``fan_out`` ``[F]``."""
    active = x != 0
    of_feature = active.sum(1, dtype=torch.float64)
    columns = [of_feature, of_feature * fan_out, active & (x != 1)]
    # inf has a fractional part too: NaN.
    columns.append(x.frac() != 0 if x.is_floating_point() else torch.zeros_like(active))
    columns.append(x.abs() if x.dtype.is_signed else x)
    return torch.stack([column.flatten(1).sum(1, dtype=torch.float64) for column in columns], 1)
