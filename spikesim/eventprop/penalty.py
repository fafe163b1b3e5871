"""A penalty that keeps neurons from spiking too much or too little."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikesim.eventprop.spikes import Spikes


def count_penalty(spikes: Spikes, target: float = 14.0, strength: float = 5e-11) -> Tensor:
    r"""Penalty on the mean number of spikes :math:`\bar n_j` of each neuron in a batch.

    .. math::
        l_p = \frac{k}{2} \sum_j (\bar n_j - \nu)^2, \qquad
        \frac{\partial l_p}{\partial t_k} := -\frac{k}{B} (\bar n_j - \nu)

    A number of spikes has no derivative by their times: what takes its place is the published
    choice, which moves spikes of busy neurons later, and of quiet ones earlier. It cannot wake a
    neuron without spikes; see :meth:`spikesim.eventprop.layer.EventLIF.wake`.

    Args:
        spikes: of a layer.
        target: :math:`\nu`, spikes in a sample.
        strength: :math:`k`.

    Reference: T. Nowotny, J. P. Turner & J. C. Knight (2025), as implemented in mlGeNN.
    """
    excess = spikes.counts().double().mean(0) - target
    penalty: Tensor = _Penalty.apply(
        spikes.times, excess[spikes.neurons] / spikes.batch, excess, strength
    )  # type: ignore[no-untyped-call]
    return penalty


class _Penalty(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, times: Tensor, per_spike: Tensor, excess: Tensor, strength: float
    ) -> Tensor:
        ctx.save_for_backward(-strength * per_spike)
        return strength / 2 * excess.square().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (drive,) = ctx.saved_tensors
        return gradient * drive, None, None, None
