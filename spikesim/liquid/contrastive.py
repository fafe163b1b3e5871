"""Two kinds of recordings in one space: projections trained so that pairs meet there.

Shape legend: ``B`` pairs, ``N`` features, ``D`` axes of the common space.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.liquid.readout import Score
from spikesim.seeds import generator

__all__ = ["contrastive_loss", "fit_projections", "pairs_by_class", "projection", "retrieve"]

Targets = Literal["soft", "identity"]


def contrastive_loss(
    first: Tensor, second: Tensor, temperature: float = 1.0, targets: Targets = "identity"
) -> Tensor:
    r"""Cross-entropy of finding the partner of each row among all, in both directions.

    .. math::
        L = \tfrac{1}{2} \bigl(\mathrm{CE}(Z, P) + \mathrm{CE}(Z^\top, P^\top)\bigr), \quad
        Z = \frac{A B^\top}{\tau}, \quad
        P = \mathrm{softmax}\frac{A A^\top + B B^\top}{2 \tau}

    or :math:`P = I` for ``"identity"``. No gradient passes through the soft targets, which rows
    that are all alike meet perfectly: projections of liquids often ended there. Rows are not
    normalised, as in the published retrieval; which of the two forms the paper trains with is not
    in its program.

    Args:
        first, second: :math:`A, B`, pairs row by row, ``[B, D]``.
        temperature: :math:`\tau`, > 0.
        targets: ``"soft"`` or ``"identity"``.

    Raises:
        UserError: other targets, or a temperature out of its range.

    Reference: A. Radford et al. (2021), Learning transferable visual models from natural language
    supervision (CLIP).
    """
    if targets not in ("soft", "identity"):
        raise UserError(f"targets must be 'soft' or 'identity', got {targets!r}")
    if not temperature > 0.0:
        raise UserError(f"temperature must be > 0, got {temperature}")
    logits = first @ second.T / temperature
    if targets == "identity":
        forth = back = torch.eye(len(first), dtype=first.dtype, device=first.device)
    else:
        with torch.no_grad():
            alike = (first @ first.T + second @ second.T) / (2.0 * temperature)
            forth = back = alike.softmax(1)
    return (F.cross_entropy(logits, forth) + F.cross_entropy(logits.T, back)) / 2.0


def projection(features: int, axes: int = 64, layers: int = 1) -> nn.Sequential:
    """Linear maps with a GELU after each, ``[B, N]`` -> ``[B, D]``.

    Args:
        features: ``N``.
        axes: ``D``, of each layer.
        layers: how many; the paper has 1.
    """
    sizes = [features, *[axes] * layers]
    parts = [(nn.Linear(a, b), nn.GELU()) for a, b in pairwise(sizes)]
    return nn.Sequential(*[module for pair in parts for module in pair])


def pairs_by_class(
    first: ArrayLike, second: ArrayLike, classes: Iterable[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which recordings make a pair: those of a class in order, all of the second kind.

    As in the paper there are as many of the first kind as of the second; where these are too few,
    they recur.

    Args:
        first, second: labels of the recordings of either kind.
        classes: of which there are pairs.

    Raises:
        UserError: the first kind has no recording of a class.

    >>> [part.tolist() for part in pairs_by_class([0, 1, 0], [1, 1, 0], (0, 1))]
    [[0, 1, 1], [2, 0, 1]]
    """
    a, b = np.asarray(first), np.asarray(second)
    rows: list[NDArray[np.int64]] = []
    partners: list[NDArray[np.int64]] = []
    for label in classes:
        i, j = np.flatnonzero(a == label), np.flatnonzero(b == label)
        if not len(i):
            raise UserError(f"there are no recordings of class {label} to pair others with")
        rows.append(np.resize(i, len(j)))
        partners.append(j)
    return np.concatenate(rows), np.concatenate(partners)


def fit_projections(
    first: Tensor,
    second: Tensor,
    *,
    axes: int = 64,
    layers: int = 1,
    temperature: float = 1.0,
    targets: Targets = "identity",
    epochs: int = 100,
    batch: int = 8,
    lr: float = 1e-3,
    seed: int = 0,
) -> tuple[nn.Sequential, nn.Sequential]:
    """Train a projection of either kind on pairs, with Adam.

    The defaults are the published ones, but for the targets, which were not found.

    Args:
        first, second: features of pairs, row by row, ``[n, N]``.
        axes, layers: of :func:`projection`.
        temperature, targets: of :func:`contrastive_loss`.
        epochs: passes over all pairs; the last one is kept.
        batch: pairs of a step.
        lr: of Adam.
        seed: of first weights and order.

    Raises:
        UserError: features that are no pairs.
    """
    if len(first) != len(second):
        raise UserError(f"pairs need as many rows of either kind, got {len(first)}, {len(second)}")
    order = generator(seed, "pairs")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        a, b = (projection(x.shape[1], axes, layers) for x in (first, second))
    solver = torch.optim.Adam([*a.parameters(), *b.parameters()], lr=lr, foreach=True)
    for _ in range(epochs):
        shuffled = torch.randperm(len(first), generator=order)
        for start in range(0, len(first), batch):
            rows = shuffled[start : start + batch]
            solver.zero_grad()
            loss = contrastive_loss(a(first[rows]), b(second[rows]), temperature, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            solver.step()
    return a, b


def retrieve(query: Tensor, gallery: Tensor, wanted: ArrayLike, labels: ArrayLike) -> Score:
    """How often the entry of the gallery with the largest dot product has the query's class.

    Args:
        query: projected, ``[n, D]``.
        gallery: projected recordings of the other kind, ``[m, D]``.
        wanted: class of each query.
        labels: class of each entry of the gallery.
    """
    best = (query @ gallery.T).argmax(1)
    right = torch.as_tensor(labels)[best] == torch.as_tensor(wanted)
    return Score(int(right.sum()), len(right))
