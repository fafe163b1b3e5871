"""Where a module and the network that it became first differ."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from spikesim.delays import DelayedRecurrent
from spikesim.neuron import Neuron
from spikesim.probe import evaluating, watch
from spikesim.recurrent import Recurrent

if TYPE_CHECKING:
    from spikesim.network.convert_run import Converted

LAYERS = (Neuron, Recurrent, DelayedRecurrent)
"""Modules that give spikes."""


@dataclass(frozen=True)
class Difference:
    """The first spike that one of the two has alone: of the earliest step the earliest layer.

    Attributes:
        layer: path of the neurons in the module.
        step, sample: where it happened.
        neuron: place in a step of the layer.
        by_module: whether it is the module that fires, and not the network.
        module, network: state variables of that neuron after the step.
    """

    layer: str
    step: int
    sample: int
    neuron: tuple[int, ...]
    by_module: bool
    module: Mapping[str, float]
    network: Mapping[str, float]

    def __str__(self) -> str:
        """One line for people."""
        who = ("the module", "the network") if self.by_module else ("the network", "the module")
        states = "; ".join(
            f"{whose} " + ", ".join(f"{name} = {value!r}" for name, value in states.items())
            for whose, states in (("module", self.module), ("network", self.network))
        )
        return (
            f"layer {self.layer!r}, step {self.step}, sample {self.sample}, neuron "
            f"{list(self.neuron)}: {who[0]} fires, {who[1]} does not; "
            f"afterwards {states}"
        )


def first_difference(module: nn.Module, network: "Converted", x: Tensor) -> Difference | None:
    """Run both on ``x [T, B, ...]`` and compare all spikes of the module's neurons.

    The module runs as a copy in the network's precision, on the CPU, in evaluation mode. Both
    sum a neuron's input, the module in floating point, the network in whole quanta, which rounds
    differently unless weights have few binary digits: a membrane within such a rounding of its
    threshold fires in one of them only, and all that follows may differ.

    Returns:
        the first difference, or ``None`` where all spikes are equal.
    """
    own = copy.deepcopy(module).cpu().to(network.dtype)
    x = x.detach().cpu().to(network.dtype)
    seen: dict[str, tuple[Any, Tensor, Tensor]] = {}

    def keep(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        name = name or "module"
        calls = sum(known.split("#")[0] == name for known in seen)
        given, *norm = inputs  # with a norm, the neuron sees norm(x)
        given = norm[0](given) if norm else given
        seen[f"{name}#{calls + 1}" if calls else name] = layer, given, output

    with evaluating(own):
        with watch(own, keep, lambda layer: isinstance(layer, LAYERS)):
            own(x)
        network.run(x)
        found = []
        for order, name in enumerate(network.modules):
            spikes = network.spikes(name)
            wrong = (seen[name][2] != spikes).nonzero()
            if len(wrong):
                found.append((int(wrong[0][0]), order, wrong[0].tolist(), name))
        if not found:
            return None
        step, _, (_, sample, *neuron), name = min(found)
        layer, given, _ = seen[name]
        before = network.spikes(name)[step, sample][tuple(neuron)]
        states = layer.run(given[: step + 1, sample : sample + 1])[1]
        states = states if isinstance(layer, Neuron) else states[0]
    return Difference(
        layer=name,
        step=step,
        sample=sample,
        neuron=tuple(neuron),
        by_module=not bool(before),
        module={key: float(value[0][tuple(neuron)]) for key, value in states.items()},
        network=_states(network, name, x[: step + 1, sample : sample + 1], neuron),
    )


def _states(network: "Converted", name: str, x: Tensor, neuron: list[int]) -> dict[str, float]:
    """State variables of a neuron of the network at the end of ``x``."""
    population, net = network.populations[name], network.network
    place = [int(np.ravel_multi_index(neuron, population.shape))]
    probes = {state: net.probe(population, state, neurons=place) for state in population.state}
    network.run(x)
    for probe in probes.values():
        net.probes.remove(probe)
    return {state: float(probe.values[-1, 0]) for state, probe in probes.items()}
