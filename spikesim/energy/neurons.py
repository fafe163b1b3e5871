"""Neurons of four libraries, known by their ancestors, of which none has to be installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch import Tensor, nn

from spikesim.energy.cost import Cost

ANCESTORS = (
    ("spikesim.neuron", "Neuron"),
    ("spikesim.recurrent", "Recurrent"),
    ("spikingjelly.activation_based.neuron", ""),
    ("spikingjelly.clock_driven.neuron", ""),
    ("snntorch._neurons", "SpikingNeuron"),
    ("norse.torch.module.snn", ""),
    ("norse.torch.module.coba_lif", "CobaLIFCell"),
    ("norse.torch.module.lif_mc", "LIFMCRecurrentCell"),
    ("norse.torch.module.lif_mc_refrac", "LIFMCRefracRecurrentCell"),
    ("norse.torch.module.leaky_integrator", "LILinearCell"),
)
"""Module and class (any, if empty) of what neurons are derived from."""

SILENT = ("NonSpiking", "NoisyNonSpiking", "LI", "LICell", "LIBoxCell", "LILinearCell")
"""How classes begin, or are called, whose output is a membrane."""


def is_neuron(module: nn.Module) -> bool:
    """Whether it is a layer of neurons of spikesim, SpikingJelly, snnTorch or Norse."""
    return _are_neurons(type(module).__mro__)


@cache
def _are_neurons(ancestors: tuple[type, ...]) -> bool:
    return any(
        kin.__module__.startswith(place) and name in ("", kin.__name__)
        for kin in ancestors
        for place, name in ANCESTORS
    )


def is_spiking(module: nn.Module) -> bool:
    """Whether what it gives is spikes."""
    cell = getattr(module, "neuron", module)
    name = type(cell).__name__
    silent = any(name == known or name.startswith("NonSpiking") for known in SILENT)
    return bool(getattr(cell, "spiking", not silent))


def states(module: nn.Module, output: Any) -> int:
    """How many state variables a neuron has."""
    cell = getattr(module, "neuron", module)
    named = getattr(cell, "states", None)
    if isinstance(named, tuple):
        return len(named)
    kept = _memories(module)
    if kept:
        return len(kept)
    return len(list(tensors(output))) - 1 or 1


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)


def neuron(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Cost:
    """One call of a layer of neurons: an update for each value that it gives.

    Give it to :func:`~spikesim.energy.register` for neurons of your own. Their output is spikes, or
    a tuple whose first tensor is.
    """
    spikes = next(tensors(output))
    return Cost(
        kind="neuron",
        emitted=spikes,
        states=states(module, output),
        is_spiking=is_spiking(module),
    )


def has_all_steps(module: nn.Module) -> bool | None:
    """Whether a call sees all steps, or one; ``None`` if its shape has to tell."""
    mode = getattr(module, "step_mode", None)
    if mode in ("s", "m"):
        return bool(mode == "m")
    kin = {(known.__module__.partition(".")[0], known.__name__) for known in type(module).__mro__}
    if ("norse", "SNN") in kin or ("norse", "SNNRecurrent") in kin:
        return True
    if ("snntorch", "StateLeaky") in kin:
        return None
    packages = {package for package, _ in kin}
    return False if packages & {"norse", "snntorch"} else None


def _memories(module: nn.Module) -> dict[str, Any]:
    """What a neuron keeps from call to call."""
    found = getattr(module, "_memories", None)
    if isinstance(found, dict):  # SpikingJelly
        return found
    names = module._non_persistent_buffers_set if is_neuron(module) else ()
    return {name: getattr(module, name) for name in sorted(names)}  # snnTorch


def kept_states(model: nn.Module) -> Iterator[Tensor]:
    """Tensors that neurons keep from call to call."""
    for module in model.modules():
        yield from tensors(_memories(module))


@contextmanager
def fresh(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Gives what brings all neurons to their first state; afterwards they are as they were."""
    before = [
        (module, {name: _copy(value) for name, value in _memories(module).items()})
        for module in model.modules()
        if _memories(module)
    ]

    def reset() -> None:
        for module, kept in before:
            if hasattr(module, "_memories"):
                module.reset()  # type: ignore[operator]
            else:
                for name in kept:
                    # Neurons make a new state where the shape of the kept one is not theirs.
                    setattr(module, name, getattr(module, name).new_zeros(0))

    try:
        yield reset
    finally:
        for module, kept in before:
            for name, value in kept.items():
                setattr(module, name, value)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
