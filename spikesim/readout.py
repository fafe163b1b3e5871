"""From class values at every step to one answer: ``T`` steps, ``B`` batch, ``K`` classes."""

from torch import Tensor

from spikesim.errors import UserError, nearest
from spikesim.layers import neuron_factory
from spikesim.neurons import LI

READOUTS = ("mean", "last", "membrane", "rate", "softmax")


def readout(logits_TBK: Tensor, kind: str = "mean", *, tau: float = 2.0) -> Tensor:
    r"""One value per class from the values ``y_t`` of each step.

    ``"mean"`` averages the steps; ``"last"`` takes the last one. ``"membrane"`` feeds a neuron
    that leaks and never fires, :math:`v_t = v_{t-1} + (y_t - v_{t-1}) / \tau`, and takes its last
    value. ``"rate"`` feeds a LIF (threshold 1, time constant 2 steps, sigmoid surrogate) and takes
    its spikes per step, in [0, 1]. ``"softmax"`` sums the steps' probabilities (Bittar and Garner,
    2022); a cross-entropy of it takes the softmax of that sum.

    Args:
        logits_TBK: class values ``[T, B, K]``.
        kind: one of the names above.
        tau: time constant of the membrane, in steps, >= 1.

    Shape: ``[T, B, K]`` -> ``[B, K]``.

    Raises:
        UserError: an unknown ``kind``, another number of dimensions, or a ``tau`` below 1.

    >>> import torch
    >>> y = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
    >>> readout(y, "mean").tolist(), readout(y, "membrane").tolist()
    ([[0.5, 1.5]], [[0.25, 1.5]])
    """
    if kind not in READOUTS:
        raise UserError(f"no readout {kind!r}{nearest(kind, READOUTS)}")
    if logits_TBK.dim() != 3:
        raise UserError(f"readout takes [T, B, K], got {list(logits_TBK.shape)}")
    if kind == "mean":
        return logits_TBK.mean(0)
    if kind == "last":
        return logits_TBK[-1]
    if kind == "softmax":
        return logits_TBK.softmax(-1).sum(0)
    if kind == "rate":
        spikes: Tensor = neuron_factory("lif")(1.0)(logits_TBK)
        return spikes.mean(0)
    v_TBK: Tensor = LI(tau)(logits_TBK)
    return v_TBK[-1]
