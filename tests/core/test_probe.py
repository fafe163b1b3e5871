"""The probe sees what happened and changes nothing."""

import pytest
import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons.lif import LIF
from spikesim.probe import record, watch


def network() -> nn.Sequential:
    return nn.Sequential(
        TimeDistributed(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)),
        LIF(v_threshold=0.2),
        nn.Flatten(2),
        TimeDistributed(nn.Linear(48, 5)),
        LIF(v_threshold=torch.linspace(0.1, 0.5, 5)),
    )


@pytest.fixture
def x() -> Tensor:
    return torch.rand(7, 3, 2, 4, 4)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_probing_changes_neither_output_nor_model(x: Tensor) -> None:
    model = network()
    model[0].eval()  # a frozen part must stay frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    recording = record(model, x, traces=2)
    assert hooks(model) == 0
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    assert torch.equal(recording.output, model(x))
    assert not recording.output.requires_grad


def test_hooks_are_removed_when_the_run_fails(x: Tensor) -> None:
    model = network()
    with pytest.raises(RuntimeError):
        record(model, x[..., :3])
    assert hooks(model) == 0
    assert all(module.training for module in model.modules())


def test_rates_are_means_of_the_spikes(x: Tensor) -> None:
    model = network().eval()
    first = model[1](model[0](x))
    last = model(x)
    layers = record(model, x).layers
    assert list(layers) == ["1", "4"]
    for layer, spikes in zip(layers.values(), (first, last), strict=True):
        assert 0 < layer.rate < 1
        assert layer.rate == pytest.approx(float(spikes.detach().mean()), abs=1e-6)
        torch.testing.assert_close(
            layer.rate_per_step, spikes.detach().flatten(1).mean(1).double(), atol=1e-6, rtol=0
        )


def test_raster_shows_the_chosen_neurons_of_the_sample(x: Tensor) -> None:
    model = network().eval()
    layer = record(model, x, neurons=10, sample=2, seed=5).layers["1"]
    spikes = model[1](model[0](x))[:, 2].flatten(1)
    assert layer.shape == (3, 4, 4)
    assert layer.raster.shape == (7, 10)
    assert torch.equal(layer.raster, spikes[:, layer.neurons])
    assert torch.equal(layer.neurons, layer.neurons.unique())  # sorted, none twice
    assert not torch.equal(layer.neurons, record(model, x, neurons=10, seed=6).layers["1"].neurons)
    everything = record(model, x).layers["4"]
    assert everything.neurons.tolist() == [0, 1, 2, 3, 4]


def test_traces_are_the_neurons_own_and_agree_with_the_raster(x: Tensor) -> None:
    model = network().eval()
    recording = record(model, x, traces={"4": [4, 1]}, sample=1)
    assert recording.layers["1"].traces == {}
    layer = recording.layers["4"]
    current = model[3](model[2](model[1](model[0](x))))
    assert torch.equal(layer.traces["v"], model[4].trace(current)["v"][:, 1, [4, 1]])
    torch.testing.assert_close(layer.threshold, torch.tensor([0.5, 0.2]))
    # hard reset: the membrane is 0 exactly after each spike
    assert torch.equal(layer.traces["v"] == 0, layer.raster[:, [4, 1]] == 1)


def test_neurons_near_half_rate_are_traced(x: Tensor) -> None:
    layer = record(network(), x, traces=2).layers["1"]
    away = (layer.raster.mean(0) - 0.5).abs()
    chosen = away[torch.isin(layer.neurons, layer.traced)]
    assert len(layer.traced) == 2
    torch.testing.assert_close(chosen.sort().values, away.sort().values[:2])


def test_a_layer_called_twice_is_listed_twice() -> None:
    neuron = LIF()
    model = nn.Sequential(neuron, neuron)
    assert list(record(model, torch.ones(4, 1, 2)).layers) == ["0", "0#2"]


def test_watch_selects_modules(x: Tensor) -> None:
    seen = []
    model = network()
    with watch(model, lambda name, *_: seen.append(name), lambda m: isinstance(m, nn.Linear)):
        model(x)
    model(x)
    assert seen == ["3.0"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample": 3}, "sample 3 is not in the batch of 3"),
        ({"traces": {"lif": [0]}}, "no layer 'lif'"),
        ({"traces": {"4": [5]}}, r"neurons 0 to 4, asked for \[5\]"),
    ],
)
def test_wrong_wishes_are_named(x: Tensor, wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        record(network(), x, **wrong)
