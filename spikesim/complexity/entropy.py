"""Entropy rates of simple sources, which complexities tend to."""

import math

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.types import Number

ROUNDING = 1e-12
"""Products of probabilities may be that far outside."""


def bernoulli_entropy(p: Number) -> Tensor:
    r"""Entropy of a step that holds a spike with probability ``p``, bits:
    :math:`-p \log_2 p - (1 - p) \log_2 (1 - p)`.

    Raises:
        UserError: a probability that is none.

    >>> float(bernoulli_entropy(0.5))
    1.0
    """
    p = torch.as_tensor(p, dtype=torch.float64)
    if not bool(((p >= -ROUNDING) & (p <= 1 + ROUNDING)).all()):
        raise UserError(f"a probability of spikes must be between 0 and 1, got {p.tolist()}")
    p = p.clamp(0, 1)
    bits: Tensor = (torch.special.entr(p) + torch.special.entr(1 - p)) / math.log(2.0)
    return bits


def markov_entropy(rate: Number, correlation: Number) -> Tensor:
    r"""Entropy rate of the trains of :class:`~spikesim.encoders.markov.Markov`, bits per step.

    .. math:: h = (1 - p) H(P(1 | 0)) + p \, H(P(0 | 1))

    Args:
        rate: :math:`p`, spikes per step.
        correlation: of neighbouring steps.

    Raises:
        UserError: no train has such a rate with such a correlation.

    >>> float(markov_entropy(0.5, 0.0))
    1.0
    """
    p = torch.as_tensor(rate, dtype=torch.float64)
    loose = 1 - torch.as_tensor(correlation, dtype=torch.float64)
    return (1 - p) * bernoulli_entropy(p * loose) + p * bernoulli_entropy((1 - p) * loose)
