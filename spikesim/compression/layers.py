"""The layers whose weights are quantised and pruned, and how both become plain weights again."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any, TypeAlias, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikesim.errors import UserError

Weighted: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
WEIGHTED: tuple[type[Weighted], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

Model = TypeVar("Model", bound=nn.Module)


def weighted(model: nn.Module, exclude: Collection[str] = ()) -> dict[str, Weighted]:
    """Linear layers and convolutions of a model by name, without those that a pattern names.

    Raises:
        UserError: a pattern that names no such layer, or none is left.
    """
    found = {name: m for name, m in model.named_modules() if isinstance(m, WEIGHTED)}
    for pattern in exclude:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise UserError(f"exclude={pattern!r} names none of the layers {', '.join(found)}")
    kept = {
        name: layer
        for name, layer in found.items()
        if not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    if not kept:
        raise UserError("no linear layer and no convolution is left in this model")
    return kept


def parametrization(layer: nn.Module, kind: type[Model]) -> Model | None:
    """What of a kind makes a layer's weight, if anything does."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    chain: Any = layer.parametrizations
    return next((part for part in chain["weight"] if isinstance(part, kind)), None)


def latent(layer: Weighted) -> Tensor:
    """The parameter that is trained, before masks and quantisation."""
    if not parametrize.is_parametrized(layer, "weight"):
        return layer.weight
    chain: Any = layer.parametrizations
    original: Tensor = chain["weight"].original
    return original


def fold(model: Model) -> Model:
    """Make quantised and pruned weights plain parameters of these values, in place.

    What a model answers stays the same, bit for bit; ``weight_bits`` stays with its layer.

    >>> from spikesim.compression import quantize
    >>> layer = quantize(nn.Linear(3, 2), bits=2)
    >>> before = layer.weight
    >>> bool((fold(layer).weight == before).all()), type(layer.weight).__name__
    (True, 'Parameter')
    """
    for layer in model.modules():
        if parametrize.is_parametrized(layer, "weight"):
            _class_of_its_own(layer)
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model


def _class_of_its_own(layer: nn.Module) -> None:
    """Copies of a parametrized layer share a class, which the removal would spoil for all."""
    shared = type(layer)
    kept = {k: v for k, v in vars(shared).items() if k not in ("__dict__", "__weakref__")}
    layer.__class__ = type(shared.__name__, shared.__bases__, kept)
