"""A kernel of delayed weights, driven by events: each adds its synapses where they end."""

import numpy as np
import torch
from torch import Tensor

from spikesim.errors import UserError


def scatter(x: Tensor, weight: Tensor) -> tuple[Tensor, int]:
    r"""Weighted sums of delayed events, and how many additions they took.

    .. math::
        B_c(t, y, x) = \sum_{p, d, i, j} K_c(p, d, i, j) A_p(t - d, y - i, x - j)

    An event of polarity p at ``(t, y, x)`` adds ``weight[c, p, d, i, j]`` to class ``c`` at
    ``(t + d, y + i, x + j)``, with i and j counted from the middle of the kernel; weights of 0 are
    not visited. Sums that fall outside of the frames are made in a border and then left out, so
    that the additions are exactly :func:`operations`. On the CPU, without gradients.

    Args:
        x: events, not 0, ``[T, B, P, H, W]``; only where they are matters.
        weight: ``[C, P, D, h, w]`` with odd h and w; d is the delay in steps.

    Shape: -> ``[T, B, C, H, W]``, in the dtype of ``weight``.

    Raises:
        UserError: sizes that do not fit.

    >>> x = torch.zeros(3, 1, 1, 1, 1)
    >>> x[0] = 1.0
    >>> y, additions = scatter(x, torch.tensor([0.5, 0.0, 2.0]).view(1, 1, 3, 1, 1))
    >>> y.flatten().tolist(), additions
    ([0.5, 0.0, 2.0], 2)
    """
    from spikesim.kernels.scatter_numba import scatter as loop

    check_sizes(x, weight)
    T, B, _, H, W = x.shape
    C, P, D, h, w = weight.shape
    padded = (B, T + D - 1, H + h - 1, W + w - 1, C)  # classes last: neighbours of one place
    strides = torch.empty(padded, device="meta").stride()
    t, b, kind, row, column = x.cpu().nonzero().unbind(1)
    place = b * strides[0] + t * strides[1] + row * strides[2] + column * strides[3]
    k = weight.detach().cpu().permute(1, 2, 3, 4, 0).contiguous()  # [P, D, h, w, C]
    p, d, i, j, c = k.nonzero().unbind(1)
    offsets = d * strides[1] + i * strides[2] + j * strides[3] + c
    begins = np.concatenate([[0], np.bincount(p.numpy(), minlength=P).cumsum()])
    out = torch.zeros(padded, dtype=k.dtype)
    flat = out.view(-1).numpy()
    additions = loop(
        place.numpy(), kind.numpy(), begins, offsets.numpy(), k[p, d, i, j, c].numpy(), flat
    )
    inside = out[:, :T, h // 2 : h // 2 + H, w // 2 : w // 2 + W]
    return inside.permute(1, 0, 4, 2, 3).contiguous(), int(additions)


def operations(x: Tensor, weight: Tensor) -> int:
    """Additions that events cost: of each polarity, events times synapses that are not 0."""
    check_sizes(x, weight)
    events = (x != 0).sum((0, 1, 3, 4)).cpu()
    synapses = (weight != 0).sum((0, 2, 3, 4)).cpu()
    return int((events * synapses).sum())


def check_sizes(x: Tensor, weight: Tensor) -> None:
    """Raises for events and a kernel that do not fit."""
    if x.dim() != 5 or x.shape[2] != weight.shape[1]:
        raise UserError(f"input must be [T, B, {weight.shape[1]}, H, W], got {list(x.shape)}")
    if weight.shape[3] % 2 == 0 or weight.shape[4] % 2 == 0:
        raise UserError(f"a kernel's height and width must be odd, got {list(weight.shape[3:])}")
