"""SpikingJelly's neurons, in every way that it offers to run them; the best is what counts."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from side import BETA, TAU, TAU_ADAPTATION, TAU_SYNAPSE, Layer, Side, fraction
from torch import Tensor

SELECTABLE = ("lif", "plif", "izhikevich", "qif")
STORAGE = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
HALVES = (torch.bfloat16, torch.float16)


def request(implementation: str) -> None:
    """What ``SJ_<NEURON>_CUDA_IMPLEMENTATION`` does at import, in a running process.

    The variable is read once, by the object that then keeps the answer: so the object is told.
    """
    for name in SELECTABLE:
        selection = importlib.import_module(f"spikingjelly._ops.{name}")._selection
        selection._requested = implementation
        selection._selections.clear()
        selection._compiled_selections.clear()


def chosen(device: torch.device) -> dict[str, Any]:
    """What ``auto`` takes for its LIF on this device, and why nothing else."""
    if device.type != "cuda":
        return {"implementation": "torch"}
    request("auto")
    selection = importlib.import_module("spikingjelly._ops.lif")._selection
    found: dict[str, Any] = selection.diagnostics(device)
    return found


def _resetting(layer: Any) -> Layer:
    from spikingjelly.activation_based import functional

    def run(x: Tensor) -> Tensor:
        functional.reset_net(layer)
        spikes: Tensor = layer(x)
        return spikes

    return run


def _node(
    name: str, arguments: dict[str, Any], how: str, device: torch.device, dtype: torch.dtype
) -> Layer:
    from spikingjelly.activation_based import neuron, surrogate

    request("triton" if how == "triton" else "auto")
    node = getattr(neuron, name)(
        **arguments, surrogate_function=surrogate.ATan(2.0), step_mode="m"
    ).to(device)
    if how == "precision API":
        from spikingjelly.activation_based import precision

        config = precision.PrecisionConfig(neuron_storage=STORAGE[dtype])
        node = precision.prepare_model_for_precision(node, device, config).model
    return _resetting(node)


def _nodes(
    name: str, arguments: dict[str, Any], hows: tuple[str, ...] = ("auto", "triton")
) -> list[Side]:
    return [
        Side(
            "SpikingJelly",
            f"{name}, {how}",
            partial(_node, name, arguments, how),
            rank=0,
            gpu_only=how != "auto",
        )
        for how in hows
    ]


def _wide(device: torch.device, dtype: torch.dtype) -> Layer:
    """The functional form with a float32 membrane, which keeps the kernel for 16-bit input."""
    from spikingjelly.activation_based import functional, surrogate

    request("auto")
    atan = surrogate.ATan(2.0)

    def run(x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0], dtype=torch.float32)
        spikes: Tensor = functional.lif_multi_step(x, v, TAU, surrogate_function=atan)[0]
        return spikes

    return run


Step = Callable[..., tuple[Tensor, ...]]


def _own(step_of: Callable[[Layer], Step], states: int) -> Side:
    """A step in plain torch, for which ``FlexSN`` prints Triton kernels."""

    def make(device: torch.device, dtype: torch.dtype) -> Layer:
        from spikingjelly.activation_based import neuron, surrogate

        # A surrogate object is refused: it is a module.
        step = step_of(lambda u: surrogate.ATan.spiking_function(u, 2.0))
        return _resetting(neuron.FlexSN(step, num_states=states, step_mode="m").to(device))

    return Side("SpikingJelly", "FlexSN", make, rank=0)


def _alif(spike: Layer) -> Step:
    k, k_adaptation, beta = fraction(TAU), fraction(TAU_ADAPTATION), BETA

    def step(x: Tensor, v: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, ...]:
        v = v + (x - v) * k - s
        a = a + (s - a) * k_adaptation
        s = spike(v - (1.0 + beta * a))
        return s, v, a, s * 1.0

    return step


def _cuba(spike: Layer) -> Step:
    k, k_synapse = fraction(TAU), fraction(TAU_SYNAPSE)

    def step(x: Tensor, v: Tensor, i: Tensor) -> tuple[Tensor, ...]:
        i = i - i * k_synapse + x
        u = v + (i - v) * k
        s = spike(u - 1.0)
        return s, (1.0 - s) * u, i

    return step


def _qif(spike: Layer) -> Step:
    k = 1.0 / TAU

    def step(x: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        u = v + (v * (v - 0.8) + x) * k
        s = spike(u - 1.0)
        return s, (1.0 - s) * u

    return step


NODE = ("auto", "triton", "precision API")
ADAPTING = {"tau": TAU, "v_rest": 0.0, "v_reset": -0.1, "tau_w": 50.0, "a": 0.2, "b": 0.1}
SIDES: dict[str, list[Side]] = {
    "LIF": [
        *_nodes("LIFNode", {"tau": TAU}, NODE),
        Side("SpikingJelly", "lif_multi_step, float32 membrane", _wide, rank=0, dtypes=HALVES),
    ],
    "PLIF": _nodes("ParametricLIFNode", {"init_tau": TAU}, NODE),
    "ALIF": [_own(_alif, 3)],
    "CUBALIF": [_own(_cuba, 2)],
    "Izhikevich": _nodes("IzhikevichNode", ADAPTING),
    "custom (QIF)": [
        *_nodes("QIFNode", {"tau": TAU, "v_rest": 0.0, "v_reset": 0.0}),
        _own(_qif, 1),
    ],
}
