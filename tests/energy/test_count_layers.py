"""Operation counts of one layer, by hand: linear, sparse, einsum, delays."""

import pytest
import torch
from counted import lines as parts
from counted import only, spikes
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.delays import DelayedConv1d
from spikesim.energy import count

T, B = 3, 2


def test_linear_by_hand() -> None:
    """Three inputs, two outputs, one weight pruned: input 0 meets 2 weights, input 2 only 1."""
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[1.0, -2.0, 0.0], [0.5, 3.0, 4.0]])
    x = torch.tensor([[[1.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]])  # two steps, one sample
    line = only(count(layer, x))
    assert (line.macs, line.effective_acs, line.effective_macs) == (12, 4, 0)
    assert (line.ann_macs, line.spikes, line.rate, line.values) == (6, 3, 0.5, "binary")
    assert (line.spikes_per_step, line.operations_per_step) == ((2, 1), (3, 1))
    assert (line.weights, line.nonzero_weights, line.biases) == (6, 5, 2)
    assert (line.inputs, line.outputs, line.weight_reads, line.passes) == (6, 4, 4, 2)
    line = only(count(layer, 0.25 * x))
    assert (line.macs, line.effective_acs, line.effective_macs, line.values) == (12, 0, 4, "real")
    assert only(count(layer, 2 * x)).values == "integer"


def test_sparse_weights_and_weights_made_of_parameters() -> None:
    """A matrix kept sparse, one that is masked, one that is a sum: weights, all of them."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]]))
            self.register_buffer("mask", torch.tensor([[1.0, 1.0, 0.0]]))
            self.register_buffer("kept", self.a.detach().to_sparse())

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(0, 1)
            return F.linear(x, self.a * self.mask) + (self.kept @ x.mT).mT + x @ (2 * self.a).mT

    counts = parts(count(Made(), torch.ones(1, 1, 3)))
    products = [line for line in counts.values() if line.kind == "linear"]
    assert [line.effective_acs for line in products] == [1, 3, 3]
    assert {line.macs for line in products} == {6}
    assert [line.nonzero_weights for line in products] == [1, 3, 3]


def test_einsum_by_hand() -> None:
    """A weight and an activation, two activations: five inputs to three outputs, N N d."""

    class Einsum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(5, 3))

        def forward(self, x: Tensor) -> Tensor:
            y = torch.einsum("tbnd,de->tbne", x, self.w)
            return torch.einsum("tbne,tbme->tbnm", y, y)

    x = torch.zeros(T, B, 2, 5)
    x[..., 0, 0] = x[1, ..., 1, 3] = 1
    first, second = count(Einsum(), x)
    assert (first.kind, first.macs, first.effective_acs) == ("linear", T * 2 * 5 * 3, 3 * (T + 1))
    assert (first.ann_macs, first.operations_per_step) == (30, (3, 6, 3))
    assert first.name == 'torch.einsum("tbnd,de->tbne", x, self.w)'
    assert (second.kind, second.macs) == ("attention", T * 2 * 2 * 3)
    # Rows that are not zero meet each other, in each of 3 sums.
    assert second.operations == 3 * (1 + 4 + 1)


def test_delayed_convolution_counts_what_arrives() -> None:
    """Every weight is 1, so outputs count operations; borders are those of a convolution."""
    conv = DelayedConv1d(2, 3, 3, padding=1, max_delay=2).eval()
    conv.weight.data.fill_(1.0)
    x = spikes(6, 2, 2, 5)
    line = only(count(nn.Sequential(conv), x))
    assert line.effective_acs == pytest.approx(conv(x).double().sum().item() / 2)
    assert line.macs == 6 * 2 * 3 * (2 + 3 + 3 + 3 + 2)
    assert line.ann_macs == line.macs / 6
