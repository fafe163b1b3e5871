"""Spike-driven Transformer: every convolution after the first adds up weights of binary spikes."""

from dataclasses import dataclass

from torch import Tensor, nn

from spikesim.attention import SDSA
from spikesim.batch_norm import BatchNorm
from spikesim.layers import (
    SpikingSequential,
    TimeDistributed,
    conv_bn,
    conv_bn_neuron,
    in_turn,
)
from spikesim.models.base import NeuronChoice, SpikingModel, Task, initialise, mean_of_map
from spikesim.models.transformer import (
    check_sizes,
    halve,
    merge_heads,
    split_heads,
    stem_widths,
    token_grid,
)
from spikesim.pool import MaxPool2d


@dataclass(frozen=True)
class SDTSizes(NeuronChoice):
    """Sizes of a spike-driven transformer.

    Args:
        dim: embedding channels ``D``, a multiple of 8 and of ``heads``.
        depth: blocks.
        heads: attention heads; the attention acts on channels alone, so they change nothing.
        mlp_ratio: hidden channels of the MLP over ``dim``; 1 adds an inner residual, as published.
        pooling: four marks, 1 where a stem stage halves the map.
        dvs_mode: 3x3 maxima over the map in the attention, as published for CIFAR10-DVS.
        neuron, threshold, surrogate: see :class:`~spikesim.models.base.NeuronChoice`.

    Raises:
        UserError: sizes that do not fit together.
    """

    dim: int = 256
    depth: int = 2
    heads: int = 8
    mlp_ratio: float = 4.0
    pooling: str = "0111"
    dvs_mode: bool = False

    def __post_init__(self) -> None:
        check_sizes(self.dim, self.depth, self.heads, self.mlp_ratio, self.pooling)


class SDT(SpikingModel):
    r"""Spike-driven Transformer V1: membrane shortcuts and attention without multiplication.

    Residuals add real-valued membranes before the neuron,
    :math:`x \leftarrow x + \mathrm{BN}(\mathrm{Conv}(\mathrm{SN}(x)))`, so each convolution and
    linear map but the first sees zeros and ones only. Class values are a linear map of the spikes
    that the mean over tokens drives. The mixing of heads that the released code creates and never
    uses is not built.

    Shape: ``[T, B, P, H, W]`` -> ``[T, B, K]``.

    Reference: Yao et al. (2023), *Spike-driven Transformer*.
    """

    def __init__(self, sizes: SDTSizes, task: Task) -> None:
        super().__init__(task)
        neuron = sizes.make_neuron
        self.stem = SpikingPatchSplitting(sizes, task)
        grid = token_grid(task.image_size, sizes.pooling)
        self.blocks = nn.Sequential(*(SDTBlock(sizes, grid) for _ in range(sizes.depth)))
        self.neuron = neuron(1.0)
        self.head = TimeDistributed(nn.Linear(sizes.dim, task.num_classes))
        initialise(self)

    def classify(self, x: Tensor) -> Tensor:
        """Class values ``[T, B, K]`` of a checked input."""
        x = self.blocks(self.stem(x))
        values: Tensor = self.head(self.neuron(mean_of_map(x)))
        return values


class SpikingPatchSplitting(nn.Module):
    """The stem: four convolutions to a membrane, then a positional one added to it.

    The last stage halves its membrane, before the neuron; the others halve their spikes.

    Shape: ``[T, B, P, H, W]`` -> membrane ``[T, B, D, H', W']``.
    """

    def __init__(self, sizes: SDTSizes, task: Task) -> None:
        super().__init__()
        neuron = sizes.make_neuron
        widths = stem_widths(task.in_channels, sizes.dim)
        self.stages = SpikingSequential()
        for mark, (fan_in, width) in zip(sizes.pooling[:3], widths[:3], strict=True):
            self.stages.extend(conv_bn_neuron(fan_in, width, 3, neuron(1.0)))
            if mark == "1":
                self.stages.append(halve())
        self.stages.append(conv_bn(*widths[3], 3))
        if sizes.pooling[3] == "1":
            self.stages.append(halve())
        self.position = nn.Sequential(neuron(1.0), conv_bn(sizes.dim, sizes.dim, 3))

    def forward(self, x: Tensor) -> Tensor:
        """The membrane that the blocks refine."""
        x = self.stages(x)
        out: Tensor = x + self.position(x)
        return out


class SDTBlock(nn.Module):
    """Attention and MLP on a membrane: ``[T, B, D, H, W]`` both ways."""

    def __init__(self, sizes: SDTSizes, grid: tuple[int, int]) -> None:
        super().__init__()
        neuron = sizes.make_neuron
        self.attention = SpikeDrivenAttention(sizes, grid)
        hidden = int(sizes.dim * sizes.mlp_ratio)
        self.inner_residual = hidden == sizes.dim
        # Without a residual in between, the second neuron follows the first norm directly.
        norm = nn.BatchNorm2d if self.inner_residual else BatchNorm
        self.expand = nn.Sequential(
            neuron(1.0), conv_bn(sizes.dim, hidden, 1, bias=True, norm=norm)
        )
        self.contract = nn.Sequential(neuron(1.0), conv_bn(hidden, sizes.dim, 1, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        """Both residuals in turn."""
        x = x + self.attention(x)
        if self.inner_residual:
            x = x + self.expand(x)
            out: Tensor = x + self.contract(x)
            return out
        return x + in_turn([*self.expand, *self.contract], x)


class SpikeDrivenAttention(nn.Module):
    """From a membrane to the correction of it: neuron, queries, keys, values, mask, projection."""

    def __init__(self, sizes: SDTSizes, grid: tuple[int, int]) -> None:
        super().__init__()
        neuron = sizes.make_neuron
        dim = sizes.dim
        self.heads = sizes.heads
        self.neuron = neuron(1.0)
        self.q = conv_bn_neuron(dim, dim, 1, neuron(1.0))
        self.k = conv_bn_neuron(dim, dim, 1, neuron(1.0))
        self.v = conv_bn_neuron(dim, dim, 1, neuron(1.0))
        if sizes.dvs_mode:
            for made in (self.k, self.v):
                made.append(TimeDistributed(MaxPool2d(3, stride=1, padding=1)))
        self.product = SDSA(neuron(0.5), grid if sizes.dvs_mode else None)
        self.project = conv_bn(dim, dim, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, D, H, W]`` -> a membrane of the same shape."""
        s = self.neuron(x)
        q, k, v = (split_heads(made(s), self.heads) for made in (self.q, self.k, self.v))
        out: Tensor = self.project(merge_heads(self.product(q, k, v), x))
        return out
