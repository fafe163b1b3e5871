"""What cannot become neurons and synapses is refused by its path, with what would work."""

import pytest
import torch
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.layers import TimeDistributed
from spikesim.models import create
from spikesim.network.convert import plan, to_network
from spikesim.neurons import ILIF, LI, LIF, LIFDelta
from spikesim.pool import MaxPool2d
from spikesim.recurrent import Recurrent

X = torch.zeros(4, 1, 6)
MAPS = torch.zeros(4, 1, 2, 6, 6)


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 6), *layers)


class Custom(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.inner, self.neuron = how, nn.Linear(6, 6), LIF()

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        s = self.neuron(self.inner(x))
        if self.how == "mean of steps":
            return s.mean(0)
        if self.how == "samples first":
            return s.transpose(0, 1)
        if self.how == "loop":
            return torch.stack([2 * now for now in s])
        if self.how == "product":
            return s * self.inner(x)
        if self.how == "matrix":
            return s[..., :3] @ s[0, 0, 3:].view(3, 1)
        if self.how == "shapes":
            return s + s[..., :1]
        if self.how == "in time":
            return s * torch.arange(4.0).double().view(4, 1, 1)
        if self.how == "elsewhere":
            return self.neuron(torch.zeros_like(x[:, :, :3]).double())
        return {"spikes": s}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (chain(nn.LayerNorm(6), LIF()), r"1 \(LayerNorm\): .*BatchNorm"),
        (chain(nn.ReLU(), LIF()), r"1 \(ReLU\): relu cannot become.*linear maps, convolutions"),
        (chain(LI(), nn.Linear(6, 2)), r"2 \(Linear\): LI at 1 emits no spikes"),
        (chain(LI(), LIF()), r"2 \(LIF\): LI at 1 emits no spikes"),
        (chain(ILIF(), nn.Linear(6, 2)), r"2 \(Linear\): ILIF at 1 emits no spikes"),
        (chain(ILIF()), r"1 \(ILIF\): the output of ILIF is neither spikes"),
        (chain(LIFDelta()), r"1 \(LIFDelta\): it takes the inputs delta, current"),
        (chain(nn.Identity()), "no neurons of spikesim.neurons"),
        (chain(LIF(), LIF(tau=4.0, dt=2.0)), "1 has dt = 1.0, 2 has dt = 2.0"),
        (chain(TimeDistributed(LIF())), r"1.0 \(LIF\): .*outside of TimeDistributed"),
        (chain(Recurrent(LIF(), nn.Sequential(nn.Linear(6, 6), nn.Tanh()))), "1.lateral.1"),
        (Custom("mean of steps"), r"the module \(Custom\): it works across steps"),
        (Custom("samples first"), "it mixes steps or samples"),
        (Custom("loop"), "unbind cannot.*spikesim.recurrent.Recurrent"),
        (Custom("product"), "only spikes times spikes"),
        (Custom("matrix"), "it mixes steps or samples"),
        (Custom("shapes"), r"shapes \[6\] and \[1\] of a step differ"),
        (Custom("in time"), "differs between steps"),
        (Custom("elsewhere"), "zeros_like cannot become"),
        (Custom("dictionary"), "must return one array"),
    ],
    ids=str,
)
def test_parts_of_modules(module: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(module, X)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")], "only zeros as padding"),
        ([nn.Conv2d(2, 3, 3), MaxPool2d(2)], r"0.1 \(MaxPool2d\): .*pool after the neurons"),
        ([nn.AvgPool2d(4, ceil_mode=True)], "ceil_mode"),
        ([nn.GroupNorm(1, 2)], r"0.0 \(GroupNorm\): .*BatchNorm"),
        ([nn.BatchNorm2d(2, track_running_stats=False)], "track_running_stats=True"),
        ([nn.Softmax(1)], "softmax cannot become"),
    ],
    ids=str,
)
def test_parts_over_time(layers: list[nn.Module], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(nn.Sequential(TimeDistributed(*layers), LIF()), MAPS)


def test_layers_outside_of_time_distributed() -> None:
    with pytest.raises(UserError, match=r"0 \(Conv1d\): .*spikesim.layers.TimeDistributed"):
        plan(nn.Sequential(nn.Conv1d(2, 3, 1), LIF()), torch.zeros(4, 2, 6))


def test_attention() -> None:
    module = create("spikformer", num_classes=10, steps=4, image_size=16, dim=16, depth=1, heads=2)
    with pytest.raises(UserError, match=r"attention.product \(SSA\): products of values cannot be"):
        plan(module, torch.zeros(4, 1, 2, 16, 16))


def test_examples_and_options() -> None:
    module = chain(LIF())
    for example in (torch.zeros(6), torch.zeros(1, 1, 6)):
        with pytest.raises(UserError, match="with 2 steps or more"):
            plan(module, example)
    with pytest.raises(UserError, match="'spikes' or 'currents'"):
        plan(module, X, inputs="events")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="largest must be > 0"):
        to_network(module, X, inputs="currents")
    with pytest.raises(UserError, match="belongs to inputs='currents'"):
        to_network(module, X, largest=1.0)


def test_inputs_of_a_run() -> None:
    network = to_network(chain(LIF()), X)
    with pytest.raises(UserError, match=r"input is \[4, 1, 5\], the network takes \[T, B, 6\]"):
        network.run(torch.zeros(4, 1, 5))
    with pytest.raises(UserError, match="inputs='currents' for counts"):
        network.run(X + 2.0)
    with pytest.raises(UserError, match="2 samples cannot go on"):
        network.run(torch.zeros(4, 2, 6), restart=False)
    with pytest.raises(UserError, match="nothing was run"):
        network.spikes("1")
    with pytest.raises(UserError, match="no layer 'one' spikes"):
        network.spikes("one")
    network.network.run(3.0)
    with pytest.raises(UserError, match="has run by itself"):
        network.run(X)
    network = to_network(chain(LIF()), X, inputs="currents", largest=3.0)
    with pytest.raises(UserError, match="reaches 4, the network was made for up to 3"):
        network.run(X + 4.0)


def test_a_network_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from spikesim.network import memory

    monkeypatch.setattr(memory, "free_bytes", lambda: 10_000)
    with pytest.raises(UserError, match="the neurons and synapses need about"):
        to_network(nn.Sequential(nn.Linear(6, 500), LIF()), X)
