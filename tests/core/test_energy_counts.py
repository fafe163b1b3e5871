"""Operation counts of one layer: exact, against hand-computed numbers, loops and NeuroBench."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from spikesim.attention import SDSA, SSA
from spikesim.energy import EnergyReport, LayerEnergy, estimate
from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF

T, B = 3, 2


def spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (torch.rand(shape) < rate).float()


def only(report: EnergyReport) -> LayerEnergy:
    (layer,) = report.layers
    return layer


def test_linear_by_hand() -> None:
    """Three inputs, two outputs, one weight pruned: input 0 meets 2 weights, input 2 only 1."""
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[1.0, -2.0, 0.0], [0.5, 3.0, 4.0]])
    x = torch.tensor([[[1.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]])  # two steps, one sample
    line = only(estimate(layer, [x]))
    assert (line.macs, line.effective_acs, line.effective_macs) == (12, 4, 0)
    assert (line.ann_macs, line.spikes, line.rate, line.values) == (6, 3, 0.5, "binary")
    line = only(estimate(layer, [0.25 * x]))
    assert (line.macs, line.effective_acs, line.effective_macs, line.values) == (12, 0, 4, "real")
    assert only(estimate(layer, [2 * x])).values == "integer"


def loop_conv2d(layer: nn.Conv2d, x: Tensor) -> tuple[int, int]:
    """Every tap of every output of every image, one at a time."""
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride
    (ph, pw), (dh, dw) = layer.padding, layer.dilation
    height, width = x.shape[-2:]
    per_group_in = layer.in_channels // layer.groups
    per_group_out = layer.out_channels // layer.groups
    rows, columns = layer(x).shape[-2:]
    dense = effective = 0
    for n, o, c, i, j, a, b in itertools.product(
        *map(range, (len(x), layer.out_channels, per_group_in, rows, columns, kh, kw))
    ):
        y, z = i * sh + a * dh - ph, j * sw + b * dw - pw
        if 0 <= y < height and 0 <= z < width:
            dense += 1
            channel = o // per_group_out * per_group_in + c
            effective += bool(x[n, channel, y, z] != 0) and bool(layer.weight[o, c, a, b] != 0)
    return dense, effective


@pytest.mark.parametrize(
    ("channels", "kernel", "options"),
    [
        ((2, 3), 3, {}),
        ((2, 3), 3, {"padding": 1}),
        ((2, 3), (1, 3), {"padding": (0, 1), "stride": (2, 1)}),
        ((2, 2), 3, {"padding": 2, "stride": 2}),
        ((2, 2), 2, {"padding": 1, "dilation": 3}),
        ((4, 6), 3, {"padding": 1, "groups": 2}),
        ((4, 4), 3, {"padding": 1, "groups": 4, "stride": 2, "bias": False}),
        ((3, 4), 1, {}),
    ],
    ids=str,
)
def test_conv_equals_loops(channels: tuple[int, int], kernel: int, options: dict) -> None:
    layer = nn.Conv2d(*channels, kernel, **options)
    layer.weight.data[torch.rand(layer.weight.shape) < 0.2] = 0
    x = spikes(T, 1, channels[0], 6, 5)
    dense, effective = loop_conv2d(layer, x[:, 0])
    line = only(estimate(nn.Sequential(TimeDistributed(layer)), [x]))
    assert (line.macs, line.effective_acs, line.ann_macs) == (dense, effective, dense / T)
    assert 0 < effective < dense


@pytest.mark.parametrize(
    ("layer", "shape", "effective", "dense"),
    [
        (nn.Linear(30, 20), (30,), 1236, 3600),
        (nn.Conv1d(4, 6, 3, padding=1, stride=2), (4, 17), 1209, 3600),
        (nn.Conv2d(4, 8, (3, 5), (2, 1), (2, 1), (1, 2), groups=2), (4, 13, 17), 34777, 101760),
        (nn.Conv2d(6, 6, 7, padding=3, groups=6, bias=False), (6, 14, 14), 92872, 266256),
        (nn.Conv3d(2, 3, 3, padding=1, stride=2), (2, 5, 6, 7), 6990, 20160),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_counts_equal_neurobench(
    layer: nn.Module, shape: tuple[int, ...], effective: int, dense: int
) -> None:
    """Numbers that NeuroBench 2.3.0 (``single_layer_MACs``) gives for these weights and inputs."""
    layer.weight.data = (torch.arange(layer.weight.numel()) % 7).float().view_as(layer.weight)
    x = torch.zeros(T, B, *shape)
    x = (torch.arange(x.numel()) % 5 // 3).float().view_as(x)
    line = only(estimate(TimeDistributed(layer), [x]))
    assert (line.effective_acs * B, line.macs * B) == (effective, dense)


def test_conv1d_by_hand() -> None:
    """Kernel 3, padding 1, five places: an inner spike meets 3 taps, one at the border 2."""
    layer = TimeDistributed(nn.Conv1d(1, 4, 3, padding=1))
    x = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 5)
    line = only(estimate(layer, [x]))
    assert line.macs == 4 * (2 + 3 + 3 + 3 + 2)
    assert line.effective_acs == 4 * (2 + 3)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_with_values_is_counted(mode: str) -> None:
    """Padding that repeats real values does work: each of 5 places then meets 3 taps."""
    layer = nn.Conv1d(1, 4, 3, padding=1, padding_mode=mode)
    line = only(estimate(TimeDistributed(layer), [torch.ones(1, 1, 1, 5)]))
    assert line.macs == line.effective_acs == 4 * 5 * 3


def test_same_padding_and_three_dimensions() -> None:
    line = only(
        estimate(
            TimeDistributed(nn.Conv3d(1, 1, 3, padding="same")), [torch.ones(1, 1, 1, 2, 2, 2)]
        )
    )
    assert line.macs == 8 * 8  # of 27 taps, 8 fall inside a 2 x 2 x 2 cube, at each place


class Attend(nn.Module):
    def __init__(self, product: nn.Module) -> None:
        super().__init__()
        self.product = product

    def forward(self, qkv: Tensor) -> Tensor:
        q, k, v = qkv.unbind(2)
        return self.product(q, k, v)


@pytest.mark.parametrize(("tokens", "channels"), [(3, 5), (6, 2)])
def test_ssa_equals_loops_in_the_order_that_runs(tokens: int, channels: int) -> None:
    qkv = spikes(T, 1, 3, 2, tokens, channels, rate=0.5)  # two heads
    N, D = range(tokens), range(channels)
    first = second = 0
    for q, k, v in (tuple(head) for step in qkv[:, 0] for head in step.transpose(0, 1)):
        if tokens <= channels:
            scores = q @ k.T
            first += sum(bool(q[i, d] * k[j, d]) for i in N for j in N for d in D)
            second += sum(bool(scores[i, j] * v[j, d]) for i in N for j in N for d in D)
        else:
            summary = k.T @ v
            first += sum(bool(k[n, c] * v[n, d]) for n in N for c in D for d in D)
            second += sum(bool(q[n, c] * summary[c, d]) for n in N for c in D for d in D)
    report = estimate(Attend(SSA(0.25)), [qkv])
    names = ["QK^T", "(QK^T)V"] if tokens <= channels else ["K^TV", "Q(K^TV)"]
    assert [line.name for line in report.layers] == [f"product {name}" for name in names]
    assert [line.effective_acs for line in report.layers] == [first, second]
    dense = T * 2 * tokens * channels * min(tokens, channels)
    assert [line.macs for line in report.layers] == [dense, dense]
    assert report.totals.effective_macs == 0  # one binary factor is enough to accumulate


def test_ssa_of_real_numbers_multiplies() -> None:
    totals = estimate(Attend(SSA(0.25)), [torch.rand(T, 1, 3, 4, 5) + 0.1]).totals
    assert totals.effective_acs == 0
    assert totals.effective_macs == totals.macs


@pytest.mark.parametrize("grid", [None, (2, 3)])
def test_sdsa_equals_loops(grid: tuple[int, int] | None) -> None:
    qkv = spikes(T, 1, 3, 6, 4, rate=0.5)
    q, k, v = qkv.unbind(2)
    attention = SDSA(LIF(v_threshold=0.5), grid)
    added = masked = 0
    membrane = torch.zeros(4)
    for t in range(T):
        for d in range(4):
            agreed = {n for n in range(6) if k[t, 0, n, d] and v[t, 0, n, d]}
            if grid is not None:  # a token agrees if one of its neighbours does
                near = {
                    n: {m for m in range(6) if abs(n // 3 - m // 3) < 2 > abs(n % 3 - m % 3)}
                    for n in range(6)
                }
                agreed = {n for n in range(6) if near[n] & agreed}
            added += len(agreed)
            membrane[d] = (membrane[d] + len(agreed)) / 2
            if membrane[d] >= 0.5:
                membrane[d] = 0.0
                masked += int(q[t, 0, :, d].sum())
    report = estimate(Attend(attention), [qkv])
    lines = {line.name: line for line in report.layers}
    assert lines["product sum K*V"].effective_acs == added
    assert lines["product Q*g"].effective_acs == masked
    assert lines["product sum K*V"].macs == lines["product Q*g"].macs == T * 6 * 4
    assert lines["product.neuron"].updates == T * 4  # the neuron ran once, and is counted once
    assert report.totals.effective_macs == 0
