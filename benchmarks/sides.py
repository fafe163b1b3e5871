"""The neurons that are compared, and everything that runs each of them.

Constants are the same on all sides; where a library has a neighbouring model only, its side says
how it differs. Each library runs as its documentation shows it.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import sides_loops
import sides_spikingjelly
import torch
from side import BETA, TAU, TAU_ADAPTATION, TAU_SYNAPSE, Layer, Side

from spikesim.kernels.backends import BackendName, serving
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, LIF, PLIF, Izhikevich

EXAMPLE = Path(__file__).parents[1] / "examples" / "custom_neuron.py"


def custom_neuron() -> Neuron:
    """The neuron that a user wrote in ``examples/custom_neuron.py``."""
    spec = importlib.util.spec_from_file_location("custom_neuron", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # torch.compile looks the module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    neuron: Neuron = module.QIF(tau=TAU)
    return neuron


OURS: dict[str, Callable[[], Neuron]] = {
    "LIF": lambda: LIF(tau=TAU),
    "PLIF": lambda: PLIF(tau=TAU),
    "ALIF": lambda: ALIF(tau=TAU, tau_adaptation=TAU_ADAPTATION, beta=BETA),
    "CUBALIF": lambda: CUBALIF(tau=TAU, tau_synapse=TAU_SYNAPSE),
    "Izhikevich": Izhikevich,
    "custom (QIF)": custom_neuron,
}


def sides_of(model: str, compiler: str) -> list[Side]:
    """Everything that runs one neuron; ``compiler`` is the backend of ``torch.compile``."""
    ours = [
        Side("spikesim", "auto", partial(_ours, model, "auto"), rank=0),
        Side("torch", "loop", partial(_ours, model, "torch"), note="spikesim's reference"),
        Side("torch", "compile", partial(_compiled, model, compiler), rank=2),
    ]
    if model == "Izhikevich":
        ours = [replace(side, drive=(10.0, 10.0)) for side in ours]
    return [
        *ours,
        *sides_spikingjelly.SIDES.get(model, []),
        *sides_loops.SIDES.get(model, []),
    ]


def _ours(model: str, backend: BackendName, device: torch.device, dtype: torch.dtype) -> Neuron:
    neuron = OURS[model]().to(device)
    neuron.backend = backend
    return neuron


def _compiled(model: str, compiler: str, device: torch.device, dtype: torch.dtype) -> Layer:
    # Else the compiler stops after a few shapes and dtypes, and refuses the next.
    torch._dynamo.reset()
    neuron = _ours(model, "torch", device, dtype)
    layer: Layer = torch.compile(neuron, backend=compiler, fullgraph=True, dynamic=False)
    return layer


def runs_on(layer: Layer, device: torch.device) -> str | None:
    """The backend that serves one of our neurons."""
    return serving(layer.backend, device.type) if isinstance(layer, Neuron) else None


def state_variables(model: str) -> int:
    """Of our neuron."""
    return len(OURS[model]().states)
