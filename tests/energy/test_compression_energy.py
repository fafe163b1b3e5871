"""Each way to spend less moves the counts and the traffic by exactly what it should."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.compression import fold, importance, prune, quantize, usage
from spikesim.delta import DeltaActivation, L1Activation, incremental
from spikesim.energy import Widths, count
from spikesim.energy.layer import Counts, LayerCounts
from spikesim.energy.model import Joules, joules
from spikesim.energy.models import get
from spikesim.layers import SpikingSequential, TimeDistributed, conv_bn_neuron
from spikesim.neurons import LIF
from spikesim.train.activity import OperationsLoss, RateLoss, activity


def line(counts: Counts, name: str) -> LayerCounts:
    return next(layer for layer in counts if layer.name == name)


def under(name: str, counts: Counts) -> Joules:
    return joules(get(name), counts)


def spiking_model() -> nn.Module:
    torch.manual_seed(0)
    return SpikingSequential(
        *conv_bn_neuron(2, 4, 3, LIF(v_threshold=0.2)),
        TimeDistributed(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)),
        LIF(v_threshold=0.1),
        TimeDistributed(nn.Flatten(), nn.Linear(6 * 16, 3)),
    ).eval()


def spikes() -> Tensor:
    return (torch.rand(3, 5, 2, 8, 8) < 0.4).float()


def test_weights_of_four_bits_read_an_eighth_of_the_bits() -> None:
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data.copy_(torch.tensor([[1.0, -1.0, 0.5], [0.5, 1.0, -0.5]]))
    x = torch.tensor([1.0, 0.0, 1.0]).expand(4, 1, 3)
    model = nn.Sequential(TimeDistributed(layer))
    (before,) = count(model, x)
    # 2 spikes x 2 weights x 4 steps = 16 weights read
    assert before.traffic(Widths()).weight_reads == 16 * 32
    quantised = count(quantize(model, 4), x)
    (after,) = quantised
    assert (after.weight_bits, after.effective_acs) == (4, 16.0)
    assert after.traffic(Widths()).weight_reads == 16 * 4
    assert after.traffic(Widths(weight=8)).weight_reads == 16 * 4
    assert after.traffic(Widths()).input_reads == before.traffic(Widths()).input_reads
    assert not quantised.uncovered
    (baseline,) = quantised.as_ann()
    assert baseline.traffic(Widths(weight=8)).weight_reads == 6 * 8
    assert [count(fold(model), x).layers[0]] == [after]
    wide, narrow = under("step", Counts((before,), 1, 4)), under("step", quantised)
    bit = get("step").constants["weight_bit"].value * 1e-12
    assert wide.parts["weights"] == pytest.approx(16 * 32 * bit)
    assert narrow.parts["weights"] == pytest.approx(16 * 4 * bit)
    assert narrow.parts["activations"] == wide.parts["activations"]
    assert narrow.parts["compute"] < wide.parts["compute"]
    classical = [under("classical", c).total for c in (Counts((before,), 1, 4), quantised)]
    assert classical == pytest.approx([16 * 0.9e-12] * 2)  # it knows no widths
    # 6 weights of half a byte
    assert count(model, x).footprint == 3


def test_weights_that_are_quantised_to_zero_cost_nothing() -> None:
    layer = quantize(nn.Linear(3, 1, bias=False), 2)
    chain = layer.parametrizations["weight"]
    chain.original.data.copy_(torch.tensor([[1.0, 0.2, -1.0]]))
    chain[0].step.data.fill_(1.0)  # 1, 0, -1
    (counted,) = count(nn.Sequential(TimeDistributed(layer)), torch.ones(2, 1, 3))
    assert (counted.macs, counted.effective_acs, counted.nonzero_weights) == (6.0, 4.0, 2.0)


@pytest.mark.parametrize("power", [0.0, 1.0, -1.0])
def test_pruning_saves_the_operations_of_the_pruned_connections_exactly(power: float) -> None:
    model, x = spiking_model(), spikes()
    before, met = count(model, x), usage(model, [x])
    for layer, name in (("0.0", "0.0"), ("2.0", "2.0"), ("4.1", "4.1")):
        assert line(before, name).operations == pytest.approx(float(met[layer].sum()), rel=1e-12)
    # Only the last layer, so that no other one hears of it.
    prune(model, 0.5, by=importance(model, [x], power), exclude=["0.0", "2.0"])
    gone = model.get_submodule("4.1").weight == 0
    after = count(model, x)
    assert not after.uncovered
    saved = line(before, "4.1").operations - line(after, "4.1").operations
    assert saved == pytest.approx(float(met["4.1"][gone].sum()), rel=1e-12)
    assert saved > 0
    assert line(after, "4.1").nonzero_weights == 3 * 96 / 2
    assert after.connection_sparsity == pytest.approx(144 / (72 + 108 + 288))
    assert line(after, "2.0").operations == line(before, "2.0").operations
    reads = line(after, "4.1").traffic(Widths()).weight_reads
    assert reads == pytest.approx(32 * line(after, "4.1").operations)
    spent = [under("classical", counts).total for counts in (before, after)]
    assert spent[0] - spent[1] == pytest.approx(0.9e-12 * saved, rel=1e-6)
    assert under("step", after).total < under("step", before).total


def test_importance_by_operations_saves_most_and_by_signal_least() -> None:
    x, saved = spikes(), {}
    for power in (-1.0, 0.0, 1.0):
        model = spiking_model()
        prune(model, 0.5, by=importance(model, [x], power), exclude=["0.0", "2.0"])
        saved[power] = -line(count(model, x), "4.1").operations
    assert saved[-1.0] > saved[0.0] > saved[1.0]


def test_kernels_of_our_own_see_quantised_weights_and_nothing_is_uncovered() -> None:
    """The first layer, of two channels, runs no operation of torch."""
    model, x = spiking_model(), spikes()
    trained = count(prune(quantize(model, 3), 0.5), x)
    assert not trained.uncovered
    assert trained.layers == count(fold(model), x).layers


def test_pruning_moves_neurobenchs_connection_sparsity() -> None:
    model, x = spiking_model(), spikes()
    for sparsity in (0.0, 0.25, 0.75):
        prune(model, sparsity)
        found = count(model, x).connection_sparsity
        assert found == pytest.approx(sparsity, abs=1 / 468)


LOSSES = RateLoss(30.0), RateLoss(3.0, power=1), RateLoss(100.0, upper=0.05), OperationsLoss(3e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_on_activity_lower_spikes_and_operations(loss: Any) -> None:
    def counted(weighted: bool) -> Counts:
        model, x = spiking_model().train(), spikes()
        target = torch.arange(5) % 3
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(25):
            with activity(model) as seen:
                values = model(x).mean(0)
            total = nn.functional.cross_entropy(values, target)
            if weighted:
                total = total + loss(seen)
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        return count(model, x)

    plain, taught = counted(False), counted(True)
    for name in ("2.0", "4.1"):
        assert line(taught, name).operations < 0.7 * line(plain, name).operations
    assert taught.total("spikes") < plain.total("spikes")
    assert line(taught, "0.0").operations == line(plain, "0.0").operations  # data is data
    for model in ("classical", "step"):
        assert under(model, taught).total < under(model, plain).total


def test_delta_inference_multiplies_with_changes_alone_by_hand() -> None:
    """Three inputs, two outputs, three steps; one input changes once, one twice."""
    layer = nn.Linear(3, 2)
    frames = torch.tensor([[1.0, 2.0, 0.0], [1.0, 3.0, 0.0], [1.0, 3.6, 1.0]])[:, None]
    model = nn.Sequential(DeltaActivation([3], step=1.0), TimeDistributed(layer))
    values, changes = count(model, frames), count(incremental(model), frames)
    # on the grid: 1 2 0, 1 3 0, 1 4 1; not zero 2 + 2 + 3; changes 2 + 1 + 2
    assert line(values, "1.0").operations == 7 * 2
    inside = line(changes, "1.0.layer")
    assert (inside.operations, inside.macs, inside.inputs) == (5 * 2, 18, 9)
    assert inside.traffic(Widths()).weight_reads == 5 * 2 * 32
    # What it costs: one value kept for each input and each output, read and written in each step.
    assert line(changes, "1.0.delta").state_reads == 9
    assert line(changes, "1.0.sigma").state_writes == 6
    assert not changes.uncovered
    spent = [under("classical", counts).total for counts in (values, changes)]
    assert spent == pytest.approx([14 * 4.6e-12, 10 * 4.6e-12])
    # Memory of both costs more than four products save, in so small a layer.
    assert under("step", changes).parts["state"] > 0
    assert under("step", changes).parts["weights"] < under("step", values).parts["weights"]


def test_static_video_costs_its_first_frame_alone() -> None:
    frames = torch.rand(1, 2, 2, 8, 8).expand(10, 2, 2, 8, 8)
    model = nn.Sequential(
        DeltaActivation([2, 8, 8], step=0.1), TimeDistributed(nn.Conv2d(2, 4, 3, padding=1))
    )
    all_frames = line(count(incremental(model), frames), "1.0.layer")
    first = line(count(incremental(model), frames[:1]), "1.0.layer")
    assert all_frames.operations == first.operations > 0
    assert all_frames.macs == 10 * first.macs


def test_the_spatial_baseline_is_free_and_seen_through() -> None:
    model = nn.Sequential(L1Activation(), TimeDistributed(nn.Linear(2, 2, bias=False)))
    counts = count(model, torch.tensor([[[1.0, 0.0]]]))
    assert counts.total("operations") == 2
    assert counts.total("additions") == counts.total("multiplications") == 0
    assert not counts.uncovered
