"""Baselines and the firing rate at which they become the cheaper ones, worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from spikesim.energy.baseline import at_rate, baselines, crossover, matched_bits, mean_rate
from spikesim.energy.count import count
from spikesim.energy.layer import BINARY, REAL, Counts, LayerCounts, Widths
from spikesim.energy.learning import with_learning
from spikesim.energy.model import joules
from spikesim.energy.models import get
from spikesim.errors import UserError
from spikesim.neurons import ILIF, LI, LIF

STEM = LayerCounts(
    name="stem",
    kind="conv",
    values=REAL,
    effective_macs=400.0,
    ann_macs=100.0,
    spikes=40.0,
    inputs=40.0,
    outputs=80.0,
    weights=25.0,
    weight_reads=400.0,
    passes=4.0,
)
CELLS = LayerCounts(
    name="lif",
    kind="neuron",
    spikes=16.0,
    rate=0.2,
    outputs=80.0,
    nonzero_outputs=16.0,
    updates=80.0,
    state_reads=80.0,
    state_writes=80.0,
    passes=4.0,
)
HEAD = LayerCounts(
    name="head",
    kind="linear",
    values=BINARY,
    effective_acs=1600.0,
    ann_macs=2000.0,
    spikes=16.0,
    inputs=80.0,
    outputs=400.0,
    weights=2000.0,
    weight_reads=1600.0,
    passes=4.0,
)
NETWORK = Counts((STEM, CELLS, HEAD), samples=1, steps=4)


def test_fp32_and_int8_baselines_run_every_layer_once() -> None:
    full, eight, matched = baselines(get("classical"), NETWORK)
    assert full.joules.total == pytest.approx(2100 * 4.6e-12)
    assert eight.joules.total == pytest.approx(2100 * (0.2 + 0.1) * 1e-12)
    assert matched.activation_bits == matched.weight_bits == 3  # counts 0 to 4
    assert matched.joules.total == pytest.approx(2100 * (0.2 * 9 / 64 + 0.1) * 1e-12)
    assert full.ratio == pytest.approx((400 * 4.6 + 1600 * 0.9) / (2100 * 4.6))


def test_weights_of_the_matched_baseline_can_be_wider() -> None:
    wide = baselines(get("classical"), NETWORK, weight_bits=8)[2]
    assert (wide.weight_bits, wide.activation_bits) == (8, 3)
    with pytest.raises(UserError, match="weight_bits must be >= 1"):
        baselines(get("classical"), NETWORK, weight_bits=0)


def test_the_step_model_charges_baselines_for_no_membranes() -> None:
    full = baselines(get("step"), NETWORK)[0]
    assert "state" not in full.joules.parts
    assert full.joules.parts["weights"] == pytest.approx(2100 * 32 * 3.12e-12)


@pytest.mark.parametrize(("steps", "bits"), [(1, 1), (3, 2), (4, 3), (7, 3), (8, 4), (2.5, 2)])
def test_bits_tell_spike_counts_apart(steps: float, bits: int) -> None:
    assert matched_bits(steps) == bits


def test_the_crossover_is_where_the_growing_part_fills_the_gap() -> None:
    # 400 MACs of the stem are there at any rate, 1600 ACs at a mean rate of 0.2.
    found = baselines(get("classical"), NETWORK)[0].crossover
    factor = (2100 * 4.6 - 400 * 4.6) / (1600 * 0.9)
    assert found.factor == pytest.approx(factor)
    assert found.rate == pytest.approx(0.2 * factor)
    assert found.present_rate == mean_rate(NETWORK) == pytest.approx(0.2)
    assert found.verdict == "always"  # the rate is beyond 1
    assert found.wins


def test_beside_int8_the_stem_alone_costs_more() -> None:
    found = baselines(get("classical"), NETWORK)[1].crossover
    assert found.verdict == "never"
    assert found.factor is None
    assert not found.wins


def test_a_network_stands_above_or_below_the_crossover() -> None:
    spent = joules(get("classical"), NETWORK).total
    above = crossover(get("classical"), NETWORK, 0.9 * spent)
    below = crossover(get("classical"), NETWORK, 1.1 * spent)
    assert above.verdict == below.verdict == "below"
    assert not above.wins
    assert below.wins
    assert 0.0 < above.factor < 1.0 < below.factor  # type: ignore[operator]


def test_a_network_without_spikes_has_no_crossover() -> None:
    silent = replace(NETWORK, layers=(STEM,))
    assert crossover(get("classical"), silent, 1.0).verdict == "always"
    assert crossover(get("classical"), silent, 0.0).verdict == "never"
    assert crossover(get("classical"), silent, 1.0).present_rate is None


def test_idle_power_does_not_fall_with_the_rate() -> None:
    found = crossover(get("truenorth"), NETWORK, 1.0)
    assert found.fixed == pytest.approx(64.43e-3 * 4e-3 + 400 * 2.297e-12)
    assert found.scaled == pytest.approx(1600 * 2.297e-12, rel=1e-4)


def test_neurons_that_fire_counts_win_below_their_rate_not_always() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), ILIF(), nn.Linear(64, 64, bias=False))
    nn.init.constant_(model[0].weight, 0.12)
    counts = count(model, (torch.rand(3, 4, 64) < 0.5).float())
    fp32 = baselines(get("classical"), counts)[0]
    assert fp32.ratio > 1
    assert not fp32.crossover.wins
    assert fp32.crossover.verdict == "below"
    assert fp32.crossover.factor == pytest.approx(1 / fp32.ratio)


@pytest.mark.parametrize(("cells", "bits"), [(LIF(), 1), (ILIF(), 32), (LI(), 32)])
def test_counts_and_membranes_are_written_as_wide_as_they_are(cells: nn.Module, bits: int) -> None:
    model = nn.Sequential(nn.Linear(8, 16), cells)
    nn.init.constant_(model[0].weight, 1.0)
    neurons = count(model, torch.ones(4, 2, 8)).layers[1]
    assert neurons.traffic(Widths()).output_writes == bits * neurons.outputs


@pytest.mark.parametrize("name", ["classical", "step"])
def test_learning_of_a_network_without_spikes_is_that_of_its_baseline(name: str) -> None:
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    counts = with_learning(count(model, torch.rand(1, 2, 8) + 0.1), model)
    assert baselines(get(name), counts)[0].ratio == pytest.approx(1)


def test_learning_from_spikes_grows_with_their_rate() -> None:
    model = nn.Sequential(nn.Linear(8, 6), LIF(), nn.Linear(6, 4))
    nn.init.uniform_(model[0].weight, 0, 1)
    counts = with_learning(count(model, (torch.rand(4, 2, 8) < 0.5).float()), model)
    half = {layer.name: layer for layer in at_rate(counts, 0.5)}
    for layer in counts:
        if layer.name.endswith("weight gradient"):
            assert half[layer.name].effective_acs == layer.effective_acs / 2 > 0
        if layer.name.endswith("input gradient") or layer.name == "adamw":
            assert half[layer.name] == layer


@pytest.mark.parametrize("name", ["loihi", "truenorth", "spinnaker", "spinnaker2"])
def test_chips_are_not_charged_for_gradients(name: str) -> None:
    model = nn.Sequential(nn.Linear(8, 6), LIF(), nn.Linear(6, 4))
    counts = count(model, (torch.rand(4, 2, 8) < 0.5).float())
    spent = joules(get(name), counts).total
    assert joules(get(name), with_learning(counts, model)).total == pytest.approx(spent)
