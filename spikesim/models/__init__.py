"""Spiking networks by name: ``create("sdt", preset="cifar10dvs", num_classes=10, steps=16)``."""

from spikesim.models.base import Model, Preset, SpikingModel, Task
from spikesim.models.binary import assert_binary, binary_inputs
from spikesim.models.registry import create, info, names

__all__ = [
    "Model",
    "Preset",
    "SpikingModel",
    "Task",
    "assert_binary",
    "binary_inputs",
    "create",
    "info",
    "names",
]
