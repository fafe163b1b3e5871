"""Spiking VGG: a plain chain of convolutions and spikes, given by one string."""

from dataclasses import dataclass

from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed, conv_bn_neuron
from spikesim.models.base import NeuronChoice, SpikingModel, Task
from spikesim.pool import MaxPool2d

_POOLS = {"M": MaxPool2d, "A": nn.AvgPool2d}


@dataclass(frozen=True)
class VGGSizes(NeuronChoice):
    """Layers of a spiking VGG.

    Args:
        layers: ``"64-M-128-fc256"``: a number is a 3x3 convolution with batch norm and neuron,
            ``M`` and ``A`` halve the map by maximum or average, ``fc`` and a number is a linear
            layer with neuron; a linear layer to the classes follows.
        neuron, threshold, surrogate: see :class:`~spikesim.models.base.NeuronChoice`.

    Raises:
        UserError: a layer that cannot be read, named with its place.
    """

    layers: str = "64-M-128-128-M-fc256"

    def __post_init__(self) -> None:
        seen_linear = False
        for place, layer in enumerate(self.layers.split("-"), start=1):
            is_linear = layer.startswith("fc")
            width = layer.removeprefix("fc")
            known = layer in _POOLS or (width.isdecimal() and int(width) > 0)
            if not known or (seen_linear and not is_linear):
                raise UserError(
                    f"layer {place} of {self.layers!r} is {layer!r}; write channels (64), M, A, "
                    "and fc256 only at the end"
                )
            seen_linear = seen_linear or is_linear


class SpikingVGG(SpikingModel):
    """Convolutions, pools and linear layers in a chain.

    Shape: ``[T, B, P, H, W]`` -> ``[T, B, K]``.

    Raises:
        UserError: more pools than the image has halvings.

    Reference: Simonyan and Zisserman (2015) for the chains; with spikes and batch norm over
    steps, Deng et al. (2022), *Temporal efficient training of spiking neural network*.
    """

    def __init__(self, sizes: VGGSizes, task: Task) -> None:
        super().__init__(task)
        neuron = sizes.make_neuron
        self.features, self.linear = SpikingSequential(), SpikingSequential()
        width, (height, breadth) = task.in_channels, task.image_size
        names = sizes.layers.split("-")
        for name in (name for name in names if not name.startswith("fc")):
            if name in _POOLS:
                self.features.append(TimeDistributed(_POOLS[name](2)))
                height, breadth = height // 2, breadth // 2
            else:
                self.features.extend(conv_bn_neuron(width, int(name), 3, neuron(1.0)))
                width = int(name)
        if min(height, breadth) < 1:
            raise UserError(
                f"{sizes.layers!r} halves the map too often for {task.image_size} pixels; "
                "remove an M or A, or use larger images"
            )
        width *= height * breadth
        for name in (name for name in names if name.startswith("fc")):
            hidden = int(name.removeprefix("fc"))
            layer = TimeDistributed(nn.Linear(width, hidden, bias=False), BatchNorm(hidden))
            self.linear.extend([layer, neuron(1.0)])
            width = hidden
        self.head = TimeDistributed(nn.Linear(width, task.num_classes))

    def classify(self, x: Tensor) -> Tensor:
        """Class values ``[T, B, K]`` of a checked input."""
        values: Tensor = self.head(self.linear(self.features(x).flatten(2)))
        return values
