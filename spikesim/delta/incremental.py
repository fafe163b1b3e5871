r"""Run linear layers on what changed since the step before.

.. math:: z_t = z_{t-1} + W (y_t - y_{t-1}), \qquad y_{-1} = 0, \quad z_{-1} = b

equals :math:`W y_t + b`: exactly in whole numbers, up to rounding in floating point.
"""

import copy
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn

from spikesim.compression.layers import WEIGHTED, Weighted, weighted
from spikesim.energy import Cost, register
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed

Model = TypeVar("Model", bound=nn.Module)


class Delta(nn.Module):
    """``y[t] - y[t - 1]``, with ``y[-1] = 0``; keeps one value for each input.

    Shape: ``[T, B, ...]`` -> the same.
    """

    def forward(self, y: Tensor) -> Tensor:
        """Differences over time."""
        return torch.cat([y[:1], y[1:] - y[:-1]])


class Sigma(nn.Module):
    """Sums over time; keeps one value for each output.

    Shape: ``[T, B, ...]`` -> the same.
    """

    def forward(self, z: Tensor) -> Tensor:
        """The sum of each step and those before."""
        return z.cumsum(0)


def _cost(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Cost:
    """One addition, and one value read and written, each step, whether it changed or not."""
    return Cost(kind="neuron", emitted=output, additions=output.numel(), states=1, is_spiking=False)


register(Delta, _cost)
register(Sigma, _cost)


class Incremental(nn.Module):
    """A linear layer or convolution that multiplies with differences of its input only.

    The layer inside sees differences, without its bias, so that whatever counts operations counts
    those that are done: differences that are not 0. The energy report has lines for the two
    memories around it, which are updated in each step.

    Args:
        layer: its weights are shared, and it stays as it is.

    Shape: ``[T, B, ...]`` -> ``[T, B, ...]``.

    >>> layer = nn.Linear(2, 1)
    >>> x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]]).view(3, 1, 2)
    >>> torch.allclose(Incremental(layer)(x), layer(x))
    True
    """

    def __init__(self, layer: Weighted) -> None:
        super().__init__()
        self.delta, self.sigma = Delta(), Sigma()
        # copy.copy refuses layers with parametrizations, such as quantised ones.
        self.layer: Weighted = layer.__new__(type(layer))
        self.layer.__dict__ = {
            **layer.__dict__,
            "_parameters": {**layer._parameters, "bias": None},
        }
        self.bias = layer.bias

    def forward(self, y: Tensor) -> Tensor:
        """What the layer itself gives for every step."""
        z: Tensor = self.layer(self.delta(y).flatten(0, 1))
        z = self.sigma(z.view(*y.shape[:2], *z.shape[1:]))
        if self.bias is None:
            return z
        after = () if isinstance(self.layer, nn.Linear) else (1,) * (z.dim() - 3)
        return z + self.bias.view(-1, *after)


def incremental(model: Model, exclude: Collection[str] = ()) -> Model:
    """A copy of a model whose linear layers and convolutions run on differences.

    Those in a :class:`~spikesim.layers.TimeDistributed` are meant; others do not know time. What
    surrounds them sees values as before. Input that changes seldom, such as that of a
    :class:`~spikesim.delta.activation.DeltaActivation`, then costs little.

    Args:
        model: any module.
        exclude: names of layers that are to see values, or patterns.

    Raises:
        UserError: no such layer.
    """
    wanted = weighted(model, exclude)
    model, found = copy.deepcopy(model), 0
    for name, parent in list(model.named_modules()):
        if isinstance(parent, TimeDistributed):
            parts: list[nn.Module] = []
            for own, layer in parent.named_children():
                if isinstance(layer, WEIGHTED) and f"{name}.{own}".lstrip(".") in wanted:
                    parts.append(Incremental(layer))
                    found += 1
                else:
                    parts.append(TimeDistributed(layer))
            replacement = nn.Sequential(*parts)
            if not name:
                model = replacement  # type: ignore[assignment]
            else:
                place, _, own = name.rpartition(".")
                setattr(model.get_submodule(place), own, replacement)
    if not found:
        raise UserError(
            "no linear layer and no convolution stands in a TimeDistributed, where time is known"
        )
    return model
