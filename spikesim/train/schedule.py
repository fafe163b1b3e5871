"""Learning rate over the epochs: linear warm-up, half a cosine, constant cool-down."""

import math

from spikesim.train.config import TrainSettings


def learning_rate(epoch: float, settings: TrainSettings) -> float:
    r"""The rate at a (fractional) epoch :math:`e`, counted from 0.

    With warm-up :math:`w`, schedule length :math:`E`, peak :math:`\eta` and end :math:`\eta_1`:

    .. math::
        \eta(e) = \begin{cases} \eta_0 + (\eta - \eta_0)\, e / w & e < w \\
            \eta_1 + \tfrac{1}{2} (\eta - \eta_1) (1 + \cos \pi \frac{e - w}{E - w})
                & w \le e < E \\
            \eta_1 & e \ge E \end{cases}

    Reference: Loshchilov & Hutter (2017), SGDR, one cycle. The rate changes every step, where
    several papers change it every epoch and count the warm-up into the cosine.

    >>> learning_rate(0.0, TrainSettings(epochs=10, lr=0.1))
    0.1
    """
    s = settings
    if epoch < s.warmup_epochs:
        return s.warmup_lr + (s.lr - s.warmup_lr) * epoch / s.warmup_epochs
    if epoch >= s.epochs:
        return s.min_lr
    progress = (epoch - s.warmup_epochs) / (s.epochs - s.warmup_epochs)
    return s.min_lr + 0.5 * (s.lr - s.min_lr) * (1.0 + math.cos(math.pi * progress))
