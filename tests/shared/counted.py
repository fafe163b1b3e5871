"""What tests of energy counts share: data, lines by name, a small spiking transformer."""

import torch
from torch import Tensor, nn

from spikesim.attention import SDSA, SSA
from spikesim.energy import Counts, LayerCounts
from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF


def spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape) < rate).float()


def lines(counts: Counts) -> dict[str, LayerCounts]:
    assert not counts.uncovered
    return {layer.name: layer for layer in counts}


def only(counts: Counts) -> LayerCounts:
    (layer,) = counts.layers
    assert not counts.uncovered
    return layer


class Block(nn.Module):
    """A small spike-driven transformer block on maps, with a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = TimeDistributed(nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8))
        self.pool = TimeDistributed(nn.MaxPool2d(2))
        self.fire = LIF()
        self.qkv = TimeDistributed(nn.Linear(8, 24))
        self.fire_qkv = LIF(v_threshold=0.3)
        self.ssa, self.sdsa = SSA(0.25), SDSA()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fire(self.pool(self.stem(x))).flatten(-2).transpose(-1, -2)
        q, k, v = self.fire_qkv(self.qkv(x)).chunk(3, -1)
        return self.head(self.drop(self.ssa(q, k, v) + self.sdsa(q, k, v)).mean(-2))
