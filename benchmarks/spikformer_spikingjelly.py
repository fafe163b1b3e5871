"""Our Spikformer written with SpikingJelly's modules: the same layers, parameters and values.

As in SpikingJelly's own Spikformer, queries, keys and values come from one convolution, and the
attention product runs in the order ``(V K^T) Q``, the cheaper one here.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from spikesim.models.spikformer import Spikformer as Ours
from spikesim.models.spikformer import SpikformerSizes

LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
MakeNeuron = Callable[[float], nn.Module]


def lif(v_threshold: float) -> nn.Module:
    """The LIF of Spikformer, whose membrane has the input's dtype."""
    return neuron.LIFNode(  # type: ignore[no-any-return]
        tau=2.0,
        v_threshold=v_threshold,
        surrogate_function=surrogate.Sigmoid(4.0),
        detach_reset=True,
        step_mode="m",
    )


class WideLIF(nn.Module):
    """The same with a float32 membrane, which keeps SpikingJelly's kernel for 16-bit input."""

    def __init__(self, v_threshold: float) -> None:
        super().__init__()
        self.v_threshold = v_threshold
        self.surrogate = surrogate.Sigmoid(4.0)

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros_like(x[0], dtype=torch.float32)
        return functional.lif_multi_step(  # type: ignore[no-any-return]
            x,
            v,
            tau=2.0,
            v_threshold=self.v_threshold,
            surrogate_function=self.surrogate,
            detach_reset=True,
        )[0]


def _conv(fan_in: int, width: int, kernel: int, bias: bool, *after: nn.Module) -> list[nn.Module]:
    conv = nn.Conv2d(fan_in, width, kernel, padding=kernel // 2, bias=bias)
    return [layer.SeqToANNContainer(conv, nn.BatchNorm2d(width)), *after]


class Attention(nn.Module):
    """Spiking self-attention on ``[T, B, D, H, W]``."""

    def __init__(self, sizes: SpikformerSizes, make: MakeNeuron) -> None:
        super().__init__()
        self.heads, self.scale, dim = sizes.heads, sizes.scale, sizes.dim
        self.qkv = nn.Sequential(*_conv(dim, 3 * dim, 1, False, make(1.0)))
        self.neuron = make(0.5)
        self.project = nn.Sequential(*_conv(dim, dim, 1, True, make(1.0)))

    def forward(self, x: Tensor) -> Tensor:
        steps, batch, dim, height, width = x.shape
        heads = (steps, batch, 3, self.heads, dim // self.heads, height * width)
        q, k, v = self.qkv(x).reshape(heads).unbind(2)  # [T, B, h, d, N]
        y = (v @ k.transpose(-1, -2)) @ q * self.scale
        out: Tensor = self.project(self.neuron(y.reshape(x.shape)))
        return out


class Block(nn.Module):
    """Attention and MLP, each added to its input."""

    def __init__(self, sizes: SpikformerSizes, make: MakeNeuron) -> None:
        super().__init__()
        dim, hidden = sizes.dim, int(sizes.dim * sizes.mlp_ratio)
        self.attention = Attention(sizes, make)
        self.mlp = nn.Sequential(
            *_conv(dim, hidden, 1, True, make(1.0)), *_conv(hidden, dim, 1, True, make(1.0))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        out: Tensor = x + self.mlp(x)
        return out


class Spikformer(nn.Module):
    """``[T, B, P, H, W]`` -> class values ``[T, B, K]``; call ``forget`` before each sequence."""

    def __init__(
        self, sizes: SpikformerSizes, channels: int, classes: int, make: MakeNeuron = lif
    ) -> None:
        super().__init__()
        widths = [channels, sizes.dim // 8, sizes.dim // 4, sizes.dim // 2, sizes.dim]
        stem: list[nn.Module] = []
        for mark, (fan_in, width) in zip(sizes.pooling, pairwise(widths), strict=True):
            stem += _conv(fan_in, width, 3, False, make(1.0))
            if mark == "1":
                stem.append(layer.SeqToANNContainer(nn.MaxPool2d(3, 2, 1)))
        self.stem = nn.Sequential(*stem)
        self.position = nn.Sequential(*_conv(sizes.dim, sizes.dim, 3, False, make(1.0)))
        self.blocks = nn.Sequential(*(Block(sizes, make) for _ in range(sizes.depth)))
        self.head = nn.Linear(sizes.dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.blocks(x + self.position(x))
        values: Tensor = self.head(x.mean((-2, -1)))
        return values

    def forget(self) -> None:
        """The membranes of the last sequence; ``reset`` is what it calls on each module."""
        functional.reset_net(self)


@torch.no_grad()
def copy_weights(ours: Ours, theirs: Spikformer) -> None:
    """Our weights, with queries, keys and values put into one convolution."""

    def layers(module: nn.Module) -> list[nn.Module]:
        return [part for part in module.modules() if isinstance(part, LAYERS)]

    pairs: list[tuple[nn.Module, nn.Module]] = [
        (ours.stem, theirs.stem),
        (ours.position, theirs.position),
        (ours.head, theirs.head),
    ]
    blocks: Any = zip(ours.blocks, theirs.blocks, strict=True)
    for mine, other in blocks:
        attention = mine.attention
        pairs += [(attention.project, other.attention.project), (mine.mlp, other.mlp)]
        thirds = zip(*map(layers, (attention.q, attention.k, attention.v)), strict=True)
        for joint, parts in zip(layers(other.attention.qkv), thirds, strict=True):
            states = [part.state_dict() for part in parts]
            for name, value in joint.state_dict().items():
                if value.dim():
                    value.copy_(torch.cat([state[name] for state in states]))
    for mine, other in pairs:
        for source, target in zip(layers(mine), layers(other), strict=True):
            target.load_state_dict(source.state_dict())
