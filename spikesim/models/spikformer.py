"""Spikformer: spikes through a convolutional stem, then self-attention on spike matrices."""

from dataclasses import dataclass

from torch import Tensor, nn

from spikesim.attention import SSA
from spikesim.layers import SpikingSequential, TimeDistributed, conv_bn_neuron
from spikesim.models.base import NeuronChoice, SpikingModel, Task, initialise, mean_of_map
from spikesim.models.transformer import (
    check_sizes,
    halve,
    merge_heads,
    split_heads,
    stem_widths,
)


@dataclass(frozen=True)
class SpikformerSizes(NeuronChoice):
    """Sizes of a Spikformer.

    Args:
        dim: embedding channels ``D``, a multiple of 8 and of ``heads``.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLP over ``dim``.
        pooling: four marks, 1 where a stem stage halves the map.
        scale: factor on the attention product; 0.25 on event data, else 0.125.
        qkv_bias: ``True`` for the CIFAR form (a Linear with bias on each token), ``False`` for
            the event and ImageNet form (a 1x1 convolution without).
        neuron, threshold, surrogate: see :class:`~spikesim.models.base.NeuronChoice`.

    Raises:
        UserError: sizes that do not fit together.
    """

    dim: int = 256
    depth: int = 2
    heads: int = 16
    mlp_ratio: float = 4.0
    pooling: str = "1111"
    scale: float = 0.25
    qkv_bias: bool = False

    def __post_init__(self) -> None:
        check_sizes(self.dim, self.depth, self.heads, self.mlp_ratio, self.pooling)


class Spikformer(SpikingModel):
    r"""Spikformer V1.

    .. math::
        x = S + \mathrm{SN}(\mathrm{BN}(\mathrm{Conv}(S))), \quad S = \mathrm{SPS}(\text{input}),
        \qquad x \leftarrow x + \mathrm{SSA}(x), \quad x \leftarrow x + \mathrm{MLP}(x)

    Residuals add spikes, so activations are whole numbers from 0 to ``2 + 2 depth``. Class values
    are a linear map of the mean over tokens. What the released code creates and never uses (layer
    norms, a position table) is not built.

    Shape: ``[T, B, P, H, W]`` -> ``[T, B, K]``.

    Reference: Zhou et al. (2023), *Spikformer: when spiking neural network meets transformer*.
    """

    def __init__(self, sizes: SpikformerSizes, task: Task) -> None:
        super().__init__(task)
        neuron = sizes.make_neuron
        self.stem = SpikingSequential()
        for mark, (fan_in, width) in zip(
            sizes.pooling, stem_widths(task.in_channels, sizes.dim), strict=True
        ):
            self.stem.extend(conv_bn_neuron(fan_in, width, 3, neuron(1.0)))
            if mark == "1":
                self.stem.append(halve())
        self.position = conv_bn_neuron(sizes.dim, sizes.dim, 3, neuron(1.0))
        self.blocks = nn.Sequential(*(SpikformerBlock(sizes) for _ in range(sizes.depth)))
        self.head = TimeDistributed(nn.Linear(sizes.dim, task.num_classes))
        initialise(self)

    def classify(self, x: Tensor) -> Tensor:
        """Class values ``[T, B, K]`` of a checked input."""
        x = self.stem(x)
        x = self.blocks(x + self.position(x))
        values: Tensor = self.head(mean_of_map(x))
        return values


class SpikformerBlock(nn.Module):
    """Attention and MLP, each added to its input as spikes: ``[T, B, D, H, W]`` both ways."""

    def __init__(self, sizes: SpikformerSizes) -> None:
        super().__init__()
        self.attention = SpikingSelfAttention(sizes)
        neuron = sizes.make_neuron
        hidden = int(sizes.dim * sizes.mlp_ratio)
        self.mlp = SpikingSequential(
            *conv_bn_neuron(sizes.dim, hidden, 1, neuron(1.0), bias=True),
            *conv_bn_neuron(hidden, sizes.dim, 1, neuron(1.0), bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Both residuals in turn."""
        x = x + self.attention(x)
        out: Tensor = x + self.mlp(x)
        return out


class SpikingSelfAttention(nn.Module):
    """Spiking queries, keys and values, their product, and a spiking projection."""

    def __init__(self, sizes: SpikformerSizes) -> None:
        super().__init__()
        neuron = sizes.make_neuron
        dim, bias = sizes.dim, sizes.qkv_bias
        self.heads = sizes.heads
        self.q = conv_bn_neuron(dim, dim, 1, neuron(1.0), bias=bias)
        self.k = conv_bn_neuron(dim, dim, 1, neuron(1.0), bias=bias)
        self.v = conv_bn_neuron(dim, dim, 1, neuron(1.0), bias=bias)
        self.product = SSA(sizes.scale)
        self.neuron = neuron(0.5)
        self.project = conv_bn_neuron(dim, dim, 1, neuron(1.0), bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, D, H, W]`` -> spikes of the same shape."""
        q, k, v = (split_heads(made(x), self.heads) for made in (self.q, self.k, self.v))
        y = merge_heads(self.product(q, k, v), x)
        out: Tensor = self.project(self.neuron(y))
        return out
