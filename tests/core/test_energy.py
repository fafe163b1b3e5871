"""Operation counts: exact, against hand-computed numbers, loops, and torch's own counter."""

import io
import itertools
import json

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spikesim.attention import SDSA, SSA
from spikesim.energy import EnergyReport, LayerEnergy, estimate
from spikesim.errors import UserError
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


def test_dense_macs_equal_torch_flop_counter() -> None:
    """Without zero padding, where the two definitions agree; a FLOP counter takes 2 per MAC."""
    model, x = Block(), torch.randn(T, B, 2, 10, 10)
    report = estimate(model, [x])
    with FlopCounterMode(display=False) as counter:
        model(x)
    masks = sum(line.macs for line in report.layers if line.name.startswith("sdsa "))
    assert report.totals.macs - masks == counter.get_total_flops() / 2 / B
    assert masks == T * 2 * 16 * 8
    assert report.totals.ann_macs == report.totals.macs / T


def test_totals_are_sums_and_nothing_is_dropped() -> None:
    model, x = Block(), torch.randn(T, B, 2, 10, 10)
    report = estimate(model, [x])
    assert report.uncovered == ()
    kinds = {line.name: line.kind for line in report.layers}
    assert kinds["stem.1"] == "norm"
    assert kinds["pool.0"] == "pool"
    assert {name for name, kind in kinds.items() if kind == "neuron"} == {
        "fire",
        "fire_qkv",
        "sdsa.neuron",
    }
    totals = report.totals
    assert totals.effective_macs == sum(line.effective_macs for line in report.layers)
    assert totals.snn_uj == pytest.approx(
        1e-6 * (4.6 * totals.effective_macs + 0.9 * totals.effective_acs)
    )
    assert totals.ann_uj == pytest.approx(1e-6 * 4.6 * totals.ann_macs)
    assert totals.ratio == pytest.approx(totals.ann_uj / totals.snn_uj)


def test_rates_are_the_models_own() -> None:
    model, x = Block().eval(), torch.randn(T, B, 2, 10, 10)
    rate = float(model.fire(model.pool(model.stem(x))).detach().mean())
    assert 0 < rate < 1
    assert estimate(model, [x]).rates["fire"] == pytest.approx(rate)


def test_counts_are_means_per_sample_whatever_the_batches() -> None:
    model, x = Block(), torch.randn(T, 6, 2, 10, 10)
    x[:, 0] = spikes(T, 2, 10, 10)  # one sample with binary input does not make the layer binary
    whole = estimate(model, [x])
    parts = estimate(model, [(part, None) for part in x.split((1, 3, 2), dim=1)])
    assert whole.samples == parts.samples == 6
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.name == other.name
        assert one.effective_macs == pytest.approx(other.effective_macs)
        assert one.effective_acs == pytest.approx(other.effective_acs)
        assert one.macs == other.macs
        assert one.updates == other.updates
    assert {line.name: line.updates for line in whole.layers}["fire"] == T * 8 * 4 * 4


def test_twice_the_steps_twice_the_operations_but_one_ann() -> None:
    layer, x = TimeDistributed(nn.Conv2d(2, 3, 3, padding=1)), spikes(T, B, 2, 5, 5)
    once, twice = estimate(layer, [x]).totals, estimate(layer, [torch.cat((x, x))]).totals
    assert twice.effective_acs == 2 * once.effective_acs
    assert twice.macs == 2 * once.macs
    assert twice.ann_macs == once.ann_macs


def test_operations_follow_the_number_of_spikes() -> None:
    layer = nn.Linear(10, 7)
    x = torch.zeros(1, 1, 10)
    for active in range(11):
        x[..., :active] = 1
        assert estimate(layer, [x]).totals.effective_acs == 7 * active


def test_a_layer_after_the_mean_over_time_runs_once() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.mean(0))

    line = only(estimate(Mean(), [spikes(T, B, 5)]))
    assert line.macs == line.ann_macs == 15


def test_equal_steps_and_batch_are_told_apart() -> None:
    assert only(estimate(nn.Linear(5, 3), [spikes(4, 4, 5)])).ann_macs == 15


def test_uncovered_and_unused_modules_are_listed() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.norm, self.dead = nn.LayerNorm(4), nn.Linear(4, 4)
            self.gelu = nn.GELU()

        def forward(self, x: Tensor) -> Tensor:
            return self.gelu(self.norm(x)) * self.scale

    report = estimate(Odd(), [spikes(T, B, 4)])
    assert report.uncovered == ("model (Odd)", "norm (LayerNorm)", "gelu (GELU)")
    assert only(report).note == "not used in this run"
    assert only(report).macs == 0


def test_neither_mode_nor_hooks_nor_weights_remain() -> None:
    model, x = Block().train(), torch.randn(T, B, 2, 10, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model.eval()(x)
    model.train()
    estimate(model, [x])
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.eval()(x), expected)


def test_dictionary_is_json_with_neurobench_names() -> None:
    report = estimate(Block(), [torch.randn(T, B, 2, 10, 10)], e_mac_pj=2.0, e_ac_pj=1.0)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    totals = report.totals
    assert found["Effective_MACs"] == totals.effective_macs
    assert found["Effective_ACs"] == totals.effective_acs
    assert found["Dense"] == totals.macs
    assert found["snn_uj"] == 1e-6 * (2 * totals.effective_macs + totals.effective_acs)
    assert sum(layer["snn_uj"] for layer in found["layers"]) == pytest.approx(found["snn_uj"])


def test_silence_costs_nothing() -> None:
    report = estimate(nn.Linear(4, 4), [torch.zeros(T, B, 4)])
    assert report.totals.snn_uj == 0
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["ratio"] is None


def test_table_shows_every_counted_layer_and_names_the_rest() -> None:
    from rich.console import Console

    model = nn.Sequential(Block(), nn.LayerNorm(4))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(estimate(model, [torch.randn(T, B, 2, 10, 10)]).table())
    text = console.export_text()
    for expected in ("0.stem.0", "0.ssa", "0.fire_qkv", "total", "NOT COUNTED: 1 (LayerNorm)"):
        assert expected in text
    assert "1 x norm: folded" in text


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no batch"),
        (torch.ones(T, B, 4), "batches must be a list"),
        ([torch.ones(2, B, 4), torch.ones(3, B, 4)], "2 and 3 steps"),
    ],
)
def test_bad_batches_are_named(batches: list[Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        estimate(nn.Linear(4, 4), batches)
