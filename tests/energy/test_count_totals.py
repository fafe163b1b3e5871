"""Counts of whole models: published numbers, totals, means over samples."""

from itertools import pairwise

import pytest
import torch
from counted import Block, lines, spikes
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from spikesim.energy import Widths, count
from spikesim.neurons import IF

T, B = 3, 2


def test_dense_macs_equal_torch_flop_counter() -> None:
    """Without zero padding, where the two definitions agree; a FLOP counter takes 2 per MAC."""
    model, x = Block(), torch.randn(T, B, 2, 10, 10)
    counts = count(model, x)
    with FlopCounterMode(display=False) as counter:
        model(x)
    masks = sum(line.macs for line in counts if line.name.startswith("sdsa "))
    assert counts.total("macs") - masks == counter.get_total_flops() / 2 / B
    assert masks == T * 2 * 16 * 8
    assert counts.total("ann_macs") == counts.total("macs") / T


def resnet18() -> nn.Module:
    """He et al. (2015), ResNet-18 for 224 x 224 pixels; borders are repeated instead of zero."""

    class Basic(nn.Module):
        def __init__(self, fan_in: int, width: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                conv(fan_in, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(),
                conv(width, width, 3, 1), nn.BatchNorm2d(width),
            )  # fmt: skip
            is_same = fan_in == width
            self.shortcut = nn.Identity() if is_same else conv(fan_in, width, 1, stride)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.shortcut(x) + self.body(x))

    def conv(fan_in: int, width: int, kernel: int, stride: int) -> nn.Module:
        how = {"padding": kernel // 2, "padding_mode": "replicate", "bias": False}
        return nn.Conv2d(fan_in, width, kernel, stride, **how)

    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [
        Basic(fan_in, width, 1 if fan_in == width else 2) for fan_in, width in pairwise(widths)
    ]
    stem = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(
        *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)
    )


def test_resnet18_equals_the_published_numbers_of_syops() -> None:
    """1.82 GMACs and 8.372 mJ at 4.6 pJ (README of syops-counter, which adds norms to them).

    By hand, with taps on borders: a block of width c at n x n pixels is 9 c c n n a convolution.
    """
    by_hand = 49 * 3 * 64 * 112**2 + 4 * 9 * 64 * 64 * 56**2 + 512 * 1000
    for c, n in ((128, 28), (256, 14), (512, 7)):
        by_hand += (9 * c * c // 2 + 3 * 9 * c * c + c * c // 2) * n * n
    counts = count(resnet18(), torch.rand(1, 3, 224, 224), layout="B")
    assert counts.total("macs") == counts.total("ann_macs") == by_hand == 1_814_073_344
    assert by_hand == pytest.approx(1.82e9, rel=0.005)
    # Ours differ by what meets a zero.
    assert 4.6e-9 * by_hand == pytest.approx(8.372, rel=0.005)
    assert counts.parameters == 11_689_512 - 2 * (128 + 256 + 512)  # shortcuts have no norm here
    assert counts.total("effective_acs") == 0
    assert "no spiking neurons" in counts.notes[0]


def test_totals_are_sums_and_nothing_is_dropped() -> None:
    counts = count(Block(), torch.randn(T, B, 2, 10, 10))
    kinds = {name: line.kind for name, line in lines(counts).items()}
    assert kinds["stem.1"] == "norm"
    assert kinds["pool.0"] == "pool"
    assert kinds["elementwise"] == "elementwise"
    assert {name for name, kind in kinds.items() if kind == "neuron"} == {
        "fire",
        "fire_qkv",
        "sdsa.neuron",
    }
    assert counts.notes == ()
    for name in ("macs", "effective_macs", "updates", "additions"):
        assert counts.total(name) == sum(getattr(line, name) for line in counts)


def test_neurons_by_hand() -> None:
    """Two neurons, three steps: an update each, one state variable, the spikes of each step."""
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])[:, None]
    (line,) = count(nn.Sequential(IF()), x)
    assert (line.updates, line.state_reads, line.state_writes) == (6, 6, 6)
    assert (line.spikes, line.rate, line.spikes_per_step) == (3, 0.5, (1, 2, 0))
    assert (line.outputs, line.nonzero_outputs) == (6, 3)
    assert line.traffic(Widths()).state_reads == 6 * 32


def test_rates_and_steps_are_the_models_own() -> None:
    model, x = Block().eval(), torch.randn(T, B, 2, 10, 10)
    fired = model.fire(model.pool(model.stem(x))).detach()
    line = lines(count(model, x))["fire"]
    assert 0 < line.rate == pytest.approx(float(fired.mean()))
    assert line.spikes_per_step == tuple(fired.flatten(1).sum(1).div(B).tolist())


def test_counts_are_means_per_sample_whatever_the_batches() -> None:
    model, x = Block(), torch.randn(T, 6, 2, 10, 10)
    x[:, 0] = spikes(T, 2, 10, 10)  # one sample with binary input does not make the layer binary
    whole = count(model, x)
    parts = count(model, [(part, None) for part in x.split((1, 3, 2), dim=1)])
    assert whole.samples == parts.samples == 6
    for one, other in zip(whole, parts, strict=True):
        assert one.name == other.name
        for name in ("macs", "effective_macs", "effective_acs", "ann_macs", "updates", "spikes"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))
        assert one.operations_per_step == pytest.approx(other.operations_per_step)
