"""A model as a chain of layers: affine maps, then neurons, maybe recurrent."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import nn

from spikesim.conv import FewChannelConv2d
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neuron import Neuron
from spikesim.online.standardised import ScaledWSConv2d, ScaledWSLinear
from spikesim.recurrent import Recurrent

AFFINE: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    FewChannelConv2d,
    ScaledWSLinear,
    ScaledWSConv2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
)
"""Modules that are known to map each step alone, and affinely."""


@dataclass(frozen=True)
class Part:
    """Maps in a row and the neurons behind them; the last part of a model may have none."""

    name: str
    maps: nn.Sequential
    neuron: Neuron | None
    recurrent: Recurrent | None


def parts(model: nn.Module, affine: Collection[type[nn.Module]]) -> list[Part]:
    """The layers of a model, in turn.

    Args:
        model: a row of modules, maybe nested.
        affine: modules that are affine beside :data:`AFFINE`.

    Raises:
        UserError: a module that is neither affine nor neurons, named.
    """
    known = {*AFFINE, *affine}
    found: list[Part] = []
    maps: list[nn.Module] = []
    for name, module in _row(model, "model"):
        if isinstance(module, Recurrent):
            _check_affine(module.lateral, f"{name}.lateral", known)
            found.append(_part(name, maps, module.neuron, module))
        elif isinstance(module, Neuron):
            found.append(_part(name, maps, module, None))
        else:
            _check_affine(module, name, known)
            maps.append(module)
            continue
        maps = []
    if not found:
        raise UserError(f"{type(model).__name__} has no neurons in a row of modules")
    if maps:
        found.append(Part("output", nn.Sequential(*maps), None, None))
    return found


def _row(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if type(module) in (nn.Sequential, SpikingSequential):
        for own, child in module.named_children():
            yield from _row(child, own if name == "model" else f"{name}.{own}")
    else:
        yield name, module


def _check_affine(module: nn.Module, name: str, known: Collection[type[nn.Module]]) -> None:
    inner = module.children() if isinstance(module, TimeDistributed | nn.Sequential) else [module]
    for each in inner:
        if type(each) not in known:
            raise UserError(
                f"{name}: online learning knows neurons and maps that are affine in each step, "
                f"{type(each).__name__} is neither; for a map that is: affine=[...], instead of "
                "batch norm: ScaledWSConv2d, instead of max pooling: average pooling"
            )


def _part(name: str, maps: list[nn.Module], neuron: Neuron, recurrent: Recurrent | None) -> Part:
    what = f"{name}, {type(neuron).__name__},"
    if len(neuron.inputs) > 1:
        raise UserError(f"{what} takes the inputs {', '.join(neuron.inputs)}; it should take one")
    if neuron.stochastic:
        raise UserError(f"{what} draws random numbers, which would differ each time it is run")
    if neuron.learnable:
        raise UserError(
            f"{what} learns {', '.join(neuron.learnable)}; online, weights and biases learn alone"
        )
    return Part(name, nn.Sequential(*maps), neuron, recurrent)
