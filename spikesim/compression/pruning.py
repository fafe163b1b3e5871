r"""Fewer connections: the least important weights are 0, and stay so while the others learn.

Importance of a weight :math:`w` that meets :math:`n` spikes a sample, where a weight of its layer
meets :math:`\bar n` in the mean:

.. math:: |w| \, (n / \bar n)^p

- :math:`p = 0`, magnitude: Zhu & Gupta (2017), *To prune, or not to prune*, arXiv 1710.01878.
- :math:`p = 1`, signal: what a weight adds to its neuron's input; those of silent inputs go
  first. Magnitude times activity is that of Sun et al. (2023), *A simple and effective pruning
  approach for large language models*, arXiv 2306.11695, who take the input's norm and compare
  within one output.
- :math:`p = -1`, operations: those go first that spend most synaptic operations for their size.
  Ours.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikesim.compression.layers import Model, latent, parametrization, weighted
from spikesim.compression.usage import usage
from spikesim.errors import UserError

Scope: TypeAlias = Literal["global", "layer"]


class Mask(nn.Module):
    """Keeps pruned weights at 0, as a parametrization of ``weight``; ``mask`` is 1 where kept."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight.detach()))

    def forward(self, weight: Tensor) -> Tensor:
        """Weights, and 0 where they are pruned; these have no gradient."""
        return weight * self.mask


@dataclass(frozen=True)
class GradualSparsity:
    r"""Sparsity that rises quickly first, while many connections are redundant, then slowly.

    .. math:: s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3

    Args:
        final: :math:`s_f`, in [0, 1).
        begin: :math:`t_0`, in the unit of the caller: epochs, steps.
        end: :math:`t_1`, > ``begin``.
        initial: :math:`s_i`, before and at ``begin``.

    Raises:
        UserError: a number out of its range.

    Reference: Zhu & Gupta (2017), equation 1.

    >>> [round(GradualSparsity(0.8, begin=0, end=4)(t), 4) for t in range(6)]
    [0.0, 0.4625, 0.7, 0.7875, 0.8, 0.8]
    """

    final: float
    begin: float
    end: float
    initial: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.final < 1:
            raise UserError(
                "sparsity must rise within [0, 1): 0 <= initial <= final < 1, "
                f"got initial={self.initial}, final={self.final}"
            )
        if not self.begin < self.end:
            raise UserError(f"end must be > begin={self.begin}, got {self.end}")

    def __call__(self, time: float) -> float:
        """The share of weights that are 0 at this time."""
        left = 1 - (time - self.begin) / (self.end - self.begin)
        return self.final + (self.initial - self.final) * min(max(left, 0.0), 1.0) ** 3


def importance(
    model: nn.Module, batches: Iterable[Tensor | tuple[Tensor, ...]] = (), power: float = 0.0
) -> dict[str, Tensor]:
    """``|w| (n / mean n)**power`` of each weight, by layer; see the module for what powers mean.

    Spikes are compared within a layer: a weight of a convolution meets those of all places, and
    layers as a whole would be pruned or kept for that.

    Args:
        model: any module.
        batches: what spikes are counted on, ``[T, B, ...]``; not needed for ``power=0``. With too
            few of them, many inputs are silent by chance.
        power: of the number of spikes. A weight that met none counts as if it had met one in all
            the data, so that no importance is infinite.

    Raises:
        UserError: spikes are needed and there is no batch.
    """
    sizes = {name: latent(layer).detach().abs() for name, layer in weighted(model).items()}
    if power == 0:
        return sizes
    batches = list(batches)
    samples = sum((b if isinstance(b, Tensor) else b[0]).shape[1] for b in batches)
    met = {name: n.clamp_min(1 / samples) for name, n in usage(model, batches).items()}
    return {
        name: size * (met[name] / met[name].mean()).to(size) ** power
        for name, size in sizes.items()
    }


def prune(
    model: Model,
    sparsity: float,
    *,
    by: Mapping[str, Tensor] | None = None,
    scope: Scope = "global",
    exclude: Collection[str] = (),
) -> Model:
    """Set the least important weights of linear layers and convolutions to 0, in place.

    What is pruned stays pruned: call again with more ``sparsity`` as training goes on
    (:class:`GradualSparsity`). An optimiser made before stays the right one. Quantised layers can
    be pruned, and pruned ones quantised.

    Args:
        model: any module.
        sparsity: share of weights that are 0 afterwards, those pruned before included, in [0, 1).
        by: importance of each weight, by layer; by default :func:`importance`, their magnitude.
        scope: compare weights over all layers (``"global"``) or within each (``"layer"``).
        exclude: names of layers to leave out, or patterns.

    Raises:
        UserError: a share out of its range, names or importances that do not fit.

    >>> model = nn.Linear(4, 1, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([0.5, -2.0, 0.1, 1.0]))
    >>> prune(model, 0.5).weight.tolist()
    [[0.0, -2.0, 0.0, 1.0]]
    """
    if not 0 <= sparsity < 1:
        raise UserError(f"sparsity must be in [0, 1), got {sparsity}")
    if scope not in ("global", "layer"):
        raise UserError(f"scope must be 'global' or 'layer', got {scope!r}")
    layers = weighted(model, exclude)
    by = importance(model) if by is None else by
    scores = {}
    for name, layer in layers.items():
        if name not in by:
            raise UserError(f"layer {name!r} has no importance in by=; exclude it or give one")
        if by[name].shape != layer.weight.shape or bool(by[name].isnan().any()):
            raise UserError(
                f"importance of layer {name!r} must be {list(layer.weight.shape)} numbers, as its "
                f"weights; got {list(by[name].shape)}, {int(by[name].isnan().sum())} of them NaN"
            )
        if parametrization(layer, Mask) is None:
            parametrize.register_parametrization(layer, "weight", Mask(layer.weight))
        # Below every importance: what is pruned is found again first.
        scores[name] = by[name].detach().masked_fill(_mask(layer) == 0, -math.inf)
    groups = [list(scores)] if scope == "global" else [[name] for name in scores]
    for names in groups:
        flat = torch.cat([scores[name].flatten() for name in names])
        pruned = torch.zeros_like(flat)
        pruned[flat.sort(stable=True).indices[: round(sparsity * flat.numel())]] = 1
        sizes = [scores[name].numel() for name in names]
        for name, part in zip(names, torch.split(pruned, sizes), strict=True):
            _mask(layers[name]).mul_(1 - part.view_as(scores[name]))
    return model


def _mask(layer: nn.Module) -> Tensor:
    mask = parametrization(layer, Mask)
    assert mask is not None
    return mask.mask


def sparsity(model: nn.Module) -> float:
    """Share of weights of linear layers and convolutions that are 0.

    NeuroBench's connection sparsity, where the model has no other connections.
    """
    weights = [layer.weight for layer in weighted(model).values()]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(weight.numel() for weight in weights)
