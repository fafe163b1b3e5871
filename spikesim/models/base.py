"""What all models share: the task they answer, the check of their input, and how one is listed.

Shape legend: ``T`` steps, ``B`` batch, ``P`` input channels (polarities), ``H, W`` map,
``K`` classes; time first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.layers import NeuronFactory, neuron_factory


@dataclass(frozen=True)
class Task:
    """What a model is built for.

    Args:
        num_classes: ``K``, >= 1.
        steps: ``T``, >= 1.
        in_channels: ``P``, >= 1.
        image_size: ``(H, W)`` in pixels.

    Raises:
        UserError: a number below 1, or none that is whole.
    """

    num_classes: int
    steps: int
    in_channels: int = 2
    image_size: tuple[int, int] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("num_classes", "steps", "in_channels"):
            if not _is_count(getattr(self, name)):
                raise UserError(f"{name} must be >= 1 and whole, got {getattr(self, name)!r}")
        if not all(map(_is_count, self.image_size)):
            raise UserError(f"image_size must be (H, W) pixels, each >= 1, got {self.image_size}")


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


@dataclass(frozen=True, kw_only=True)
class NeuronChoice:
    """The neuron of a model; the sizes of every model begin with these.

    Args:
        neuron: a name or a factory; see :func:`spikesim.layers.neuron_factory`.
        threshold: multiplies every firing threshold, > 0.
        surrogate: the pretended derivative of the spike, by name.
    """

    neuron: str | NeuronFactory = "lif"
    threshold: float = 1.0
    surrogate: str = "sigmoid"

    def make_neuron(self, v_threshold: float) -> nn.Module:
        """One spiking layer."""
        factory = neuron_factory(self.neuron, threshold=self.threshold, surrogate=self.surrogate)
        return factory(v_threshold)


class SpikingModel(nn.Module):
    """Base of all models: ``[T, B, P, H, W]`` -> class values ``[T, B, K]``, one per step.

    A subclass gives ``classify``. No state survives a call.

    Raises:
        UserError: on a call, an input of another shape than the model was built for.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.steps = task.steps
        self.num_classes = task.num_classes
        self.input_shape = (task.in_channels, *task.image_size)

    def forward(self, x: Tensor) -> Tensor:
        """Class values of every step."""
        self._check(x)
        return self.classify(x)

    def classify(self, x: Tensor) -> Tensor:
        """Class values ``[T, B, K]`` of a checked input ``[T, B, P, H, W]``."""
        raise NotImplementedError

    def _check(self, x: Tensor) -> None:
        shape = list(x.shape)
        wanted = f"[T={self.steps}, B, {', '.join(map(str, self.input_shape))}]"
        if x.dim() == 4:
            raise UserError(
                f"input is {shape}, the model takes {wanted}; repeat images [B, P, H, W]: "
                f"spikesim.encoders.Direct({self.steps})(x)"
            )
        if x.dim() != 5:
            raise UserError(f"input is {shape}, the model takes {wanted}")
        if shape[0] != self.steps:
            cure = (
                "this looks like [B, T, ...]: use x.transpose(0, 1)"
                if shape[1] == self.steps
                else f"bin the events into steps={self.steps}, or create it with steps={shape[0]}"
            )
            raise UserError(f"input is {shape}, the model takes {wanted}; {cure}")
        if x.shape[2] != self.input_shape[0]:
            raise UserError(
                f"input has {shape[2]} channels, the model takes {self.input_shape[0]}; "
                f"create it with in_channels={shape[2]}"
            )
        if x.shape[3:] != self.input_shape[1:]:
            raise UserError(
                f"input is {shape[3]} x {shape[4]} pixels (H x W), the model takes "
                f"{self.input_shape[1]} x {self.input_shape[2]}; load the data with that size, "
                f"or create it with image_size=({shape[3]}, {shape[4]})"
            )


def mean_of_map(x: Tensor) -> Tensor:
    """The mean over ``H`` and ``W``: ``[T, B, C, H, W]`` -> ``[T, B, C]``.

    Its gradient lies in memory as ``x`` does. torch writes it in the order of the dimensions, so of
    a channels-last map all layers before would get it in strides other than their own.
    """
    if x.stride(2) == 1 < x.shape[2]:
        return x.movedim(2, -1).mean((2, 3))
    return x.mean((-2, -1))


def initialise(model: nn.Module) -> None:
    """Weights of linear maps and convolutions normal (0.02, cut at two units), biases zero.

    The start of both transformers' released code; batch norm follows each but the last.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class Preset:
    """Sizes that belong together, and the task they were made for."""

    sizes: Any
    task: Task
    source: str


@dataclass(frozen=True)
class Model:
    """One kind of model: its class, its sizes (a dataclass), its presets and its source."""

    name: str
    build: Callable[[Any, Task], SpikingModel]
    sizes: type
    presets: Mapping[str, Preset]
    source: str

    @property
    def summary(self) -> str:
        """One line: what it is."""
        return (self.build.__doc__ or "").strip().splitlines()[0]

    def parameters(self, preset: str) -> int:
        """Parameters of a preset, each of which is used and learns."""
        chosen = self.presets[preset]
        with torch.device("meta"):
            model = self.build(chosen.sizes, chosen.task)
        return sum(parameter.numel() for parameter in model.parameters())
