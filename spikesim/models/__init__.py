"""Spiking networks by name: ``create("sdt", preset="cifar10dvs", num_classes=10, steps=16)``."""

from spikesim.models import presets as _presets  # noqa: F401  (fills the registry)
from spikesim.models.base import SpikingModel, Task
from spikesim.models.binary import assert_binary, binary_inputs
from spikesim.models.registry import Model, Preset, create, info, names

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
