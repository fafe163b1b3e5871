"""Sequences as a stream of chunks, and the loss of each step."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spikesim.online.online import Online

StepLoss = Callable[[Tensor, int], Tensor]
"""Of the outputs ``[K, B, ...]`` of a chunk and the number of its first step; a sum over steps."""


class Learned(NamedTuple):
    """What a sequence gave."""

    loss: Tensor
    """Of all steps, a scalar without gradients."""
    output: Tensor
    """Mean over the steps, ``[B, ...]``."""


def learn(
    online: Online,
    chunks: Iterable[Tensor],
    loss: StepLoss,
    optimizer: torch.optim.Optimizer | None = None,
) -> Learned:
    """Run a sequence from the beginning, and add each chunk's share to the gradients.

    Args:
        online: what learns.
        chunks: ``[K, B, ...]`` each, such as ``x.split(50)``; a generator need not hold them all.
        loss: of a chunk's outputs, summed over its steps.
        optimizer: steps after each chunk (with chunks of one step, learning is online in the strict
            sense); ``None`` leaves gradients summed, and to the caller.
    """
    state, start, total, mean = None, 0, torch.zeros(()), torch.zeros(())
    for x in chunks:
        if optimizer is not None:
            optimizer.zero_grad()
        output, state = online.run(x, state)
        share = loss(output, start)
        share.backward()  # type: ignore[no-untyped-call]
        if optimizer is not None:
            optimizer.step()
        start += len(x)
        total = total.to(share) + share.detach()
        mean = mean.to(output) + output.detach().sum(0)
    return Learned(total, mean / max(start, 1))


def step_loss(output_TBK: Tensor, labels: Tensor, *, mse: float = 0.05) -> Tensor:
    r"""Cross-entropy of each step mixed with the squared distance to 0 and 1, summed over steps.

    .. math:: \sum_t (1 - \lambda)\, \mathrm{CE}(y_t, k) + \lambda\, \mathrm{mean}\, (y_t - 1_k)^2

    Args:
        output_TBK: class values of each step.
        labels: classes ``[B]``.
        mse: :math:`\lambda`, in [0, 1].

    Reference: Xiao et al. (2022), which divides by the number of steps.
    """
    steps, _, classes = output_TBK.shape
    flat, targets = output_TBK.flatten(0, 1), labels.repeat(steps)
    squared = F.mse_loss(flat, F.one_hot(targets, classes).to(flat))
    return steps * ((1.0 - mse) * F.cross_entropy(flat, targets) + mse * squared)
