"""Delays added to models that have none, and what they cost."""

import copy
import math

import pytest
import torch
from torch import nn

from spikesim import models
from spikesim.delays import Delayed, DelayedConv2d, DelayedLinear, DelayedRecurrent, add_delays
from spikesim.energy import estimate
from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.neurons import IF, LIF
from spikesim.recurrent import Recurrent


def test_one_line_adds_delays_that_learn() -> None:
    model = nn.Sequential(nn.Linear(3, 8), LIF(), nn.Linear(8, 2))
    weight = model[0].weight
    assert add_delays(model, max_delay=6) is model
    assert isinstance(model[0], DelayedLinear)
    assert model[0].weight is weight
    model(torch.rand(12, 2, 3) * 4).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in model.parameters())


@pytest.mark.parametrize("name", ["spiking_vgg", "sdt"])
def test_models_answer_as_before_until_delays_grow(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=3, steps=4, threshold=0.5)
    x = torch.poisson(torch.full((4, 2, 2, 34, 34), 0.5))
    model(x)
    before = copy.deepcopy(model).eval()
    add_delays(model.eval(), max_delay=2, up_to=0.0)
    layers = [m for m in model.modules() if isinstance(m, Delayed)]
    assert len(layers) == sum(isinstance(m, nn.Linear | nn.Conv2d) for m in before.modules())
    torch.testing.assert_close(model(x), before(x), rtol=1e-5, atol=1e-6)
    nn.init.constant_(layers[0].delay, 1.0)
    later = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    torch.testing.assert_close(model(x)[1:], before(later)[1:], rtol=1e-5, atol=1e-6)


def test_settings_of_a_convolution_stay() -> None:
    conv = nn.Conv2d(4, 8, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2), groups=2).double()
    x = torch.randn(5, 2, 4, 9, 9).double()
    late = add_delays(conv, max_delay=3, up_to=0.0).eval()
    assert isinstance(late, DelayedConv2d)
    torch.testing.assert_close(late(x), TimeDistributed(conv)(x))


def test_shared_layers_stay_shared_and_recurrent_maps_stay() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, LIF(), shared, Recurrent(IF(), nn.Linear(4, 4)))
    add_delays(model, max_delay=2)
    assert model[0] is model[2]
    assert isinstance(model[0], DelayedLinear)
    assert type(model[3].lateral) is nn.Linear


def test_what_cannot_have_delays_says_so() -> None:
    with pytest.raises(UserError, match="no linear layer"):
        add_delays(nn.Sequential(LIF()), max_delay=3)
    with pytest.raises(UserError, match="0 does not pad"):
        add_delays(nn.Sequential(nn.Conv2d(2, 2, 3, padding_mode="circular")), max_delay=3)
    for up_to in (-1.0, 4.0, math.nan):
        with pytest.raises(UserError, match=f"up_to must be from 0 to max_delay=3, got {up_to}"):
            add_delays(nn.Linear(2, 2), max_delay=3, up_to=up_to)


def test_energy_counts_spikes_that_arrive() -> None:
    """A synapse's operation is done if its delay ends within the run."""
    layer = DelayedLinear(3, 2, max_delay=4, bumps=2)
    x = (torch.rand(10, 4, 3) < 0.4).float()
    expected = 0
    for t, _, i in x.nonzero().tolist():
        expected += int((t + layer.delay[:, i].round() < 10).sum())
    report = estimate(nn.Sequential(layer), [x])
    (line,) = report.layers
    assert (line.kind, line.values) == ("delay", "binary")
    assert line.effective_acs == expected / 4
    assert line.macs == 3 * 2 * 2 * 10
    assert line.ann_macs == 3 * 2 * 2
    assert not report.uncovered
    first, second = (DelayedLinear(3, 3, max_delay=4, lengthen=True) for _ in range(2))
    longer = estimate(nn.Sequential(first, second), [x]).layers[1]
    assert (longer.macs, longer.ann_macs) == (3 * 3 * 12, 3 * 3)


def test_energy_of_a_convolution_and_of_recurrent_spikes() -> None:
    conv = DelayedConv2d(2, 3, 3, padding=1, max_delay=2).eval()
    x = (torch.rand(6, 2, 2, 5, 5) < 0.3).float()
    conv.weight.data.fill_(1.0)
    (line,) = estimate(nn.Sequential(conv), [x]).layers
    assert line.kind == "delay"
    # Every weight is 1, so outputs count the operations.
    assert line.effective_acs == pytest.approx(conv(x).double().sum().item() / 2)
    recurrent = DelayedRecurrent(LIF(), 4, max_delay=3).eval()
    x = torch.rand(12, 2, 4) * 3
    spikes = recurrent(x)
    expected = 0
    for t, _, i in spikes.nonzero().tolist():
        expected += 4 * (t + 1 + int(recurrent.delay[0, i].round()) < 12)
    (line,) = estimate(nn.Sequential(recurrent), [x]).layers[:1]
    assert line.effective_acs == expected / 2
