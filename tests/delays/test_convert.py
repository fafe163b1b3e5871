"""A model with delays as a network whose synapses have them: the same spikes, in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.batch_norm import BatchNorm
from spikesim.delays import (
    DelayedConv1d,
    DelayedConv2d,
    DelayedLinear,
    DelayedRecurrent,
    add_delays,
)
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.network.convert import Converted, first_difference, to_network
from spikesim.neuron import Neuron
from spikesim.neurons import LI, LIF

X = (30, 2, 6)


@pytest.fixture(autouse=True)
def _reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules run in plain torch: no kernel of the network's kind stands on both sides."""
    monkeypatch.setattr(Neuron, "backend", "torch")


def spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).double()


def check(module: nn.Module, x: Tensor, **how: object) -> Converted:
    """Equal spikes in all layers, none of them silent, and equal outputs."""
    network = to_network(module, x, **how)  # type: ignore[arg-type]
    difference = first_difference(module, network, x)
    assert difference is None, str(difference)
    with torch.no_grad():
        expected = module.double().eval()(x)
    torch.testing.assert_close(network.run(x), expected, rtol=1e-12, atol=1e-12)
    rates = {name: float(network.spikes(name).mean()) for name in network.modules}
    assert rates
    assert all(0.001 < rate < 0.999 for rate in rates.values()), rates
    return network


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
@pytest.mark.parametrize("bumps", [1, 2])
def test_linear_layers_fire_alike(kind: str, bumps: int) -> None:
    how = {"max_delay": 7, "delays": kind, "bumps": bumps}
    norm = TimeDistributed(BatchNorm(8))
    module = nn.Sequential(
        *(DelayedLinear(6, 8, **how), norm, LIF(v_threshold=0.4)),  # type: ignore[arg-type]
        *(DelayedLinear(8, 5, bias=True, **how), LIF(v_threshold=0.3)),  # type: ignore[arg-type]
    )
    norm[0].weight.data.uniform_(0.5, 1.5)
    nn.init.uniform_(norm[0].bias, -0.1, 0.1)
    nn.init.uniform_(module[3].bias, 0.0, 0.1)
    network = check(module, spikes(*X))
    table = network.synapses[0][1].table()
    layer = module[0]
    delay = layer.delay.round().expand_as(layer.weight).reshape(-1)
    assert sorted(table["delay"]) == sorted(delay.tolist())


@pytest.mark.parametrize("layer", [DelayedConv1d, DelayedConv2d])
def test_convolutions_and_places_fire_alike(layer: type[DelayedConv2d]) -> None:
    size = (7,) if layer is DelayedConv1d else (7, 5)
    module = nn.Sequential(
        *(layer(2, 4, 3, 2, 1, groups=2, max_delay=4, bumps=2), LIF(v_threshold=0.3)),
        *(layer(4, 2, 2, max_delay=3, delays="dendrite"), LIF(v_threshold=0.2)),
        *(DelayedLinear(3 if len(size) == 1 else 2, 3, max_delay=2), LIF(v_threshold=0.2)),
    )
    check(module, spikes(20, 2, 2, *size))


def test_counts_enter_as_currents() -> None:
    module = nn.Sequential(
        *(DelayedLinear(6, 8, max_delay=5), LIF(v_threshold=0.5)),
        *(DelayedLinear(8, 3, max_delay=4), LI()),
    )
    x = torch.poisson(torch.full(X, 0.5)).double()
    network = check(module, x, inputs="currents")
    whole = network.run(x[:, :1])
    parts = [network.run(x[:13, :1]), network.run(x[13:, :1], restart=False)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["synapse", "axon", "dendrite"])
def test_recurrent_spikes_come_back_alike(kind: str) -> None:
    recurrent = DelayedRecurrent(LIF(v_threshold=0.4), 6, max_delay=5, delays=kind)  # type: ignore[arg-type]
    check(nn.Sequential(DelayedLinear(6, 6, max_delay=4), recurrent), spikes(*X))


def test_published_model_fires_alike() -> None:
    sizes = {"hidden": "8-8", "max_delay": 6, "num_classes": 3, "steps": 30}
    model = models.create("delay_mlp", **sizes, in_channels=1, image_size=(1, 6))  # type: ignore[arg-type]
    x = torch.poisson(torch.full((30, 2, 1, 1, 6), 0.5)).double()
    model(x.float())
    check(model, x, inputs="currents")


def test_events_are_spikes_times_synapses() -> None:
    module = nn.Sequential(DelayedLinear(6, 8, max_delay=7, bumps=2), LIF(v_threshold=0.4))
    x = spikes(*X)
    network = check(module, x)
    assert network.synaptic_events == float(x.sum()) / 2 * 8 * 2


def test_synapses_of_one_delay_between_two_neurons_do_not_come_back() -> None:
    x = spikes(*X)
    module = nn.Sequential(DelayedLinear(6, 5, max_delay=7, bumps=2), LIF(v_threshold=0.4))
    module[0].delay.data[2, 3] = torch.tensor([3.2, 2.9])
    with pytest.raises(UserError, match=r"same delay.* 0\.weight cannot be told apart"):
        check(module, x).to_module()


def test_weights_come_back() -> None:
    module = nn.Sequential(DelayedLinear(6, 5, max_delay=7, bumps=2), LIF(v_threshold=0.4)).double()
    # Two delays of a synapse that round alike would add up.
    module[0].delay.data[..., 0] = torch.randint(0, 4, (5, 6))
    module[0].delay.data[..., 1] = torch.randint(4, 8, (5, 6))
    network = check(module, spikes(*X))
    assert torch.equal(network.to_module()[0].weight, module[0].weight)
    synapses = network.synapses[0][1]
    table = synapses.table()
    change = 0.01 * (1 + table["pre"] + 10 * table["post"] + 100 * table["delay"])
    synapses.weight += np.rint(change / synapses.quantum).astype(synapses.weight.dtype)
    to, by = torch.arange(5.0).double().view(-1, 1, 1), torch.arange(6.0).double().view(-1, 1)
    expected = module[0].weight + 0.01 * (1 + by + 10 * to + 100 * module[0].delay)
    torch.testing.assert_close(network.to_module()[0].weight, expected, rtol=0, atol=1e-6)


def test_what_has_no_one_time_is_refused() -> None:
    long = nn.Sequential(DelayedLinear(6, 5, max_delay=6, lengthen=True), LIF())
    with pytest.raises(UserError, match=r"0 \(DelayedLinear\): lengthen"):
        to_network(long, torch.zeros(X))
    added = nn.Sequential(nn.Linear(6, 6), add_delays(nn.Linear(6, 5), max_delay=2), LIF())
    with pytest.raises(UserError, match=r"1 \(DelayedLinear\): .*late at first"):
        to_network(added, torch.zeros(X))
