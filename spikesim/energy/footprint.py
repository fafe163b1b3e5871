"""Widths of quantised layers, and the bytes that a model is kept in."""

from numbers import Real
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikesim.energy.neurons import kept_states


def weight_bits(layer: nn.Module) -> Any:
    """Bits of a weight, which a quantised layer tells as ``weight_bits``; else ``None``."""
    bits = getattr(layer, "weight_bits", None)
    is_number = isinstance(bits, Real) and not isinstance(bits, bool) and float(bits) > 0
    return bits if is_number and _latent(layer) is not None else None


def footprint(model: nn.Module) -> float:
    """Bytes of parameters and buffers, without states of neurons.

    Weights of a quantised layer have their own width; masks of pruned ones are none of them, as
    zeros are kept as weights.
    """
    arrays = (*model.parameters(), *model.buffers())
    sizes = {id(array): float(array.numel() * array.element_size()) for array in arrays}
    for state in kept_states(model):
        sizes.pop(id(state), None)
    for module in model.modules():
        if isinstance(module, parametrize.ParametrizationList):
            original = getattr(module, "original", None)
            for array in module.buffers():
                if original is not None and array.shape == original.shape:
                    sizes.pop(id(array), None)
        bits, weight = weight_bits(module), _latent(module)
        if bits is not None and weight is not None:
            sizes[id(weight)] = weight.numel() * float(bits) / 8
    return sum(sizes.values())


def _latent(layer: nn.Module) -> Tensor | None:
    """The parameter that a layer's weight is, or is made of."""
    if parametrize.is_parametrized(layer, "weight"):
        made_of: Any = layer.parametrizations
        return getattr(made_of["weight"], "original", None)
    weight = getattr(layer, "weight", None)
    return weight if isinstance(weight, nn.Parameter) else None
