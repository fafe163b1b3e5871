"""Watch a training: which layers are silent or always on, and where a NaN comes from."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikesim.neuron import Neuron
from spikesim.train.later import Later
from spikesim.world import World


class RateMonitor:
    """Firing rates of every spiking layer, read from the passes of the training itself.

    A rate is the share of outputs that are not zero. Counting happens on the device, into tensors
    that stay the same ones, so that a CUDA graph can hold it; the host reads one tensor for all
    layers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.active = False
        self.dead: dict[str, float] = {}
        spiking = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, Neuron) and module.spiking
        }
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        # Fired and all outputs. On the device: a number that changes would be compiled again.
        self._counts = {name: torch.zeros(2, dtype=torch.int64, device=device) for name in spiking}
        self._handles = [self._attach(name, module) for name, module in spiking.items()]

    def _attach(self, name: str, module: nn.Module) -> RemovableHandle:
        def count(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if self.active:
                fired = torch.count_nonzero(output.detach())
                both = torch.stack([fired, torch.full_like(fired, output.numel())])
                self._counts[name].add_(both)

        return module.register_forward_hook(count)

    def take(self, world: World) -> Tensor:
        """The counts ``[layers, 2]`` since the last call, over all processes; then from 0 again."""
        if not self._counts:
            return torch.zeros(0, 2, dtype=torch.int64)
        taken = torch.stack(list(self._counts.values()))
        torch._foreach_zero_(list(self._counts.values()))
        return world.sum(taken)

    def named(self, counts: Sequence[Any]) -> dict[str, float]:
        """Layer name -> rate in [0, 1], from what :meth:`take` gave."""
        each = zip(self._counts, counts, strict=True)
        return {name: fired / total for name, (fired, total) in each if total}

    def rates(self, world: World) -> dict[str, float]:
        """Layer name -> rate since the last call, in [0, 1], over all processes."""
        return self.named(Later(self.take(world)).read())

    def newly_dead(self, rates: dict[str, float]) -> dict[str, float]:
        """Layers whose rate is 0 or 1 now and was another one at the look before."""
        dead = {name: rate for name, rate in rates.items() if rate in (0.0, 1.0)}
        new = {name: rate for name, rate in dead.items() if self.dead.get(name) != rate}
        self.dead = dead
        return new

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()


def find_non_finite(model: nn.Module, x: Tensor) -> str:
    """The first place where a pass of ``x`` is NaN or infinite, in words, or ``""``.

    Parameters are looked at first, then outputs in the order the layers run. Spiking layers hide
    a NaN (it fires no spike), therefore their inputs are looked at as well.
    """
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"the parameter {name}"
    found: list[str] = []
    handles = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: Any, output: Any) -> None:
            if found:
                return
            for what, values in (("input", inputs), ("output", (output,))):
                tensors = [value for value in values if isinstance(value, Tensor)]
                if any(not bool(torch.isfinite(value).all()) for value in tensors):
                    found.append(f"the {what} of layer {name}")
                    return

        return hook

    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_hook(look(name)))
    buffers = [buffer.clone() for buffer in model.buffers()]
    try:
        with torch.no_grad():
            model.forward(x)  # the text itself, not what torch.compile made of it
    finally:
        for handle in handles:
            handle.remove()
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return found[0] if found else ""


def non_finite_gradients(model: nn.Module) -> list[str]:
    """Names of the parameters whose gradient is NaN or infinite."""
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
    ]
