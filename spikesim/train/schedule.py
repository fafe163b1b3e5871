"""Learning rate over the epochs: warm-up, half a cosine and cool-down, or one cycle."""

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

    With ``schedule="one_cycle"``, half a cosine up and half a cosine down:

    .. math::
        \eta(e) = \begin{cases}
            c(\eta / 25,\; \eta,\; e / r) & e < r \\
            c(\eta,\; \eta / 250\,000,\; \frac{e - r}{E - u - r}) & r \le e < E - u \\
            \eta / 250\,000 & e \ge E - u \end{cases}
        \qquad r = 0.3 E - u, \quad c(a, b, p) = b + \tfrac{1}{2} (a - b) (1 + \cos \pi p)

    where :math:`u` is 1 if the rate changes every epoch, whose last one has the lowest, else 0.

    Reference: Loshchilov & Hutter (2017), SGDR, one cycle; Smith and Topin (2018),
    super-convergence, in the form of torch's ``OneCycleLR`` (which changes Adam's first beta too;
    here it stays). By default the rate changes every step, where several papers change it every
    epoch and count the warm-up into the cosine.

    >>> learning_rate(0.0, TrainSettings(epochs=10, lr=0.1))
    0.1
    """
    s = settings
    if s.schedule == "one_cycle":
        unit = s.rate_changes == "epoch"
        rise, last = max(0.3 * s.epochs - unit, 0.0), s.epochs - unit
        if epoch < rise:
            return _cosine(s.lr / 25, s.lr, epoch / rise)
        return _cosine(s.lr, s.lr / 25e4, (epoch - rise) / (last - rise) if epoch < last else 1.0)
    if epoch < s.warmup_epochs:
        return s.warmup_lr + (s.lr - s.warmup_lr) * epoch / s.warmup_epochs
    if epoch >= s.epochs:
        return s.min_lr
    return _cosine(s.lr, s.min_lr, (epoch - s.warmup_epochs) / (s.epochs - s.warmup_epochs))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * progress))
