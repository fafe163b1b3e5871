"""The energy report of a model: sums, what is covered, JSON and table."""

import io
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


def spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.3).float()


def only(report: EnergyReport) -> LayerEnergy:
    (layer,) = report.layers
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
