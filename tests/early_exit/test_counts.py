"""Counts of runs that stop samples: what each sample did until then, and nothing else."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from spikesim.early_exit import DynamicConfidence, Exits, counts_until_exit
from spikesim.energy import EnergyReport, count
from spikesim.energy.layer import Counts, LayerCounts
from spikesim.neurons import IF
from spikesim.probe import watch


def stopped_at(steps: Tensor, limit: int) -> Exits:
    return Exits(steps, torch.zeros_like(steps), torch.zeros(len(steps)), limit)


def layer_of(counts: Counts, kind: str, place: int = 0) -> LayerCounts:
    return [layer for layer in counts if layer.kind == kind][place]


def test_spikes_and_operations_are_those_until_the_exit(events: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(2), nn.Linear(72, 6), IF(), nn.Linear(6, 5))
    seen: list[Tensor] = []
    with torch.no_grad(), watch(model, lambda name, module, x, spikes: seen.append(spikes)):
        model(events)
    exits = stopped_at(torch.arange(23) % 7 + 1, 7)
    is_running = torch.arange(7)[:, None] < exits.steps  # [T, B]
    spikes_T = (seen[0].sum(2) * is_running).sum(1) / 23
    events_T = (events.flatten(2).sum(2) * is_running).sum(1) / 23
    found = counts_until_exit(count, model, events, exits, batch_size=2)
    first, second = (layer_of(found, "linear", place) for place in (0, 1))
    assert first.effective_acs == pytest.approx(float(events_T.sum()) * 6)
    assert first.operations_per_step == pytest.approx((events_T * 6).tolist())
    assert second.effective_acs == pytest.approx(float(spikes_T.sum()) * 5)
    neurons = layer_of(found, "neuron")
    assert neurons.spikes == pytest.approx(float(spikes_T.sum()))
    assert neurons.spikes_per_step == pytest.approx(spikes_T.tolist())
    assert neurons.updates == pytest.approx(6 * exits.latency)
    assert neurons.rate == pytest.approx(float(spikes_T.sum()) / (6 * exits.latency))
    assert (first.weights, first.nonzero_weights, first.biases) == (432, 432, 6)
    assert (found.samples, len(found.layers)) == (23, len(count(model, events).layers))


def test_without_exits_counts_are_those_of_the_model(network: nn.Module, events: Tensor) -> None:
    plain = count(network, events)
    everything = counts_until_exit(
        count, network, events, DynamicConfidence(1.0, 1.0).run(network, events), batch_size=9
    )
    for theirs, ours in zip(plain, everything, strict=True):
        for name in (f.name for f in fields(LayerCounts)):
            wanted, found = getattr(theirs, name), getattr(ours, name)
            assert found == (wanted if isinstance(wanted, str | None) else pytest.approx(wanted))
    assert (everything.steps, everything.parameters) == (7, plain.parameters)


def test_exits_lower_the_energy_report(network: nn.Module, events: Tensor) -> None:
    exits = DynamicConfidence(1.5, 0.45).run(network, events)
    assert 1 < exits.latency < 7
    models = ("classical", "step", "loihi")
    full, early = (
        EnergyReport.of(counts, models=models)
        for counts in (count(network, events), counts_until_exit(count, network, events, exits))
    )
    for name in models:
        assert early.totals.joules[name] < full.totals.joules[name]
    for before, after in zip(full.counts, early.counts, strict=True):
        if before.is_weighted:
            assert after.operations < before.operations
            assert after.passes == pytest.approx(exits.latency)
    idle = [report.models["loihi"].joules.parts["idle"] for report in (full, early)]
    assert idle[1] / idle[0] == pytest.approx(exits.latency / 7)


def test_a_layer_that_saw_real_values_in_one_sample_multiplies_in_all() -> None:
    x = torch.ones(2, 2, 3)
    x[:, 1] = 0.5
    found = counts_until_exit(
        count, nn.Linear(3, 4, bias=False), x, stopped_at(torch.tensor([1, 2]), 2)
    )
    (layer,) = found
    assert (layer.values, layer.effective_macs, layer.effective_acs) == ("real", 18.0, 0.0)
