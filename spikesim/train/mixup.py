"""Mixup: a batch of pairs of recordings, blended with their labels."""

import numpy as np
import torch
from torch import Tensor

from spikesim.train.config import TrainSettings


def is_mixed(epoch: int, settings: TrainSettings) -> bool:
    """Whether batches of this epoch may be mixed."""
    off = settings.mixup_off_epoch
    return settings.mixup > 0 and (off is None or epoch < off)


def mixup(
    x_TB: Tensor,
    labels_B: Tensor,
    classes: int,
    settings: TrainSettings,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    r"""Blend each recording with another of its batch: :math:`\lambda x_i + (1-\lambda) x_j`.

    One :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` per batch; the partner is the batch in
    reverse order, as in timm. With probability ``1 - mixup_prob`` the batch stays as it is.

    Shape: ``x`` ``[T, B, ...]``, labels ``[B]`` -> ``x`` ``[T, B, ...]``, targets ``[B, K]``.

    Reference: Zhang et al. (2018), "mixup: beyond empirical risk minimization".
    """
    chance = float(torch.rand((), generator=generator))
    seed = int(torch.randint(2**62, (), generator=generator))
    targets_BK = torch.nn.functional.one_hot(labels_B, classes).to(x_TB.dtype)
    if chance >= settings.mixup_prob:
        return x_TB, targets_BK
    # torch's Beta takes no generator.
    share = float(np.random.default_rng(seed).beta(settings.mixup, settings.mixup))
    mixed = x_TB * share + x_TB.flip(1) * (1 - share)
    return mixed, targets_BK * share + targets_BK.flip(0) * (1 - share)
