"""SEW-ResNet: residual blocks whose shortcut joins spikes with spikes."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from spikesim.errors import UserError, nearest
from spikesim.layers import SpikingSequential, TimeDistributed, conv_bn_neuron
from spikesim.models.base import NeuronChoice, SpikingModel, Task, mean_of_map
from spikesim.models.transformer import halve

CONNECT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda a, s: a + s,
    "and": lambda a, s: a * s,
    "iand": lambda a, s: (1.0 - a) * s,
}
"""Joins the block's spikes ``a`` with the shortcut's ``s``."""


@dataclass(frozen=True)
class SEWResNetSizes(NeuronChoice):
    """Sizes of a SEW-ResNet.

    Args:
        blocks: blocks a stage, ``"2-2-2-2"`` for 18 layers, ``"3-4-6-3"`` for 34.
        width: channels of the first stage; each next one has twice as many.
        connect: ``"add"``, ``"and"`` or ``"iand"``.
        small_stem: start with a 3x3 convolution at full size, for small images, in place of a
            7x7 at stride 2 and a pool.
        neuron, threshold, surrogate: see :class:`~spikesim.models.base.NeuronChoice`.

    Raises:
        UserError: sizes that cannot be read.
    """

    blocks: str = "2-2-2-2"
    width: int = 64
    connect: str = "add"
    small_stem: bool = False

    def __post_init__(self) -> None:
        if not all(count.isdecimal() and int(count) > 0 for count in self.blocks.split("-")):
            raise UserError(f"blocks must be counts such as '2-2-2-2', got {self.blocks!r}")
        if self.width < 1:
            raise UserError(f"width must be >= 1 channel, got {self.width}")
        if self.connect not in CONNECT:
            raise UserError(f"no connect {self.connect!r}{nearest(self.connect, tuple(CONNECT))}")


class SEWResNet(SpikingModel):
    """Spike-element-wise residual network of basic blocks.

    Class values are a linear map of the mean over the last map. With ``connect="add"``
    activations are whole numbers; with the others they stay binary.

    Shape: ``[T, B, P, H, W]`` -> ``[T, B, K]``.

    Reference: Fang et al. (2021), *Deep residual learning in spiking neural networks*, section 3.
    """

    def __init__(self, sizes: SEWResNetSizes, task: Task) -> None:
        super().__init__(task)
        neuron = sizes.make_neuron
        width = sizes.width
        first = (3, 1) if sizes.small_stem else (7, 2)
        self.stem = conv_bn_neuron(task.in_channels, width, first[0], neuron(1.0), stride=first[1])
        if not sizes.small_stem:
            self.stem.append(halve())
        self.blocks = nn.Sequential()
        for stage, count in enumerate(map(int, sizes.blocks.split("-"))):
            for block in range(count):
                out = sizes.width * 2**stage
                stride = 2 if stage and not block else 1
                self.blocks.append(SEWBlock(width, out, stride, sizes))
                width = out
        self.head = TimeDistributed(nn.Linear(width, task.num_classes))

    def classify(self, x: Tensor) -> Tensor:
        """Class values ``[T, B, K]`` of a checked input."""
        x = self.blocks(self.stem(x))
        values: Tensor = self.head(mean_of_map(x))
        return values


class SEWBlock(nn.Module):
    """Two convolutions with neurons, joined with a shortcut of spikes."""

    def __init__(self, fan_in: int, width: int, stride: int, sizes: SEWResNetSizes) -> None:
        super().__init__()
        neuron = sizes.make_neuron
        self.connect = sizes.connect
        self.body = SpikingSequential(
            *conv_bn_neuron(fan_in, width, 3, neuron(1.0), stride=stride),
            *conv_bn_neuron(width, width, 3, neuron(1.0)),
        )
        self.shortcut = SpikingSequential()
        if stride != 1 or fan_in != width:
            self.shortcut.extend(conv_bn_neuron(fan_in, width, 1, neuron(1.0), stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` -> ``[T, B, C', H', W']``."""
        return CONNECT[self.connect](self.body(x), self.shortcut(x))

    def extra_repr(self) -> str:
        """How spikes are joined, for ``print(model)``."""
        return f"connect={self.connect}"
