"""Gradients that run forward in time, beside those of backpropagation through all of it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.layers import TimeDistributed
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, IF, LI, LIF
from spikesim.online import Online, ScaledWSConv2d, ScaledWSLinear, learn
from spikesim.recurrent import Recurrent
from spikesim.surrogate import Triangle

T, B, SENDERS, NEURONS, OUT = 23, 2, 5, 4, 3
RAMP = torch.linspace(3.0, 9.0, NEURONS, dtype=torch.float64)
REFERENCE = pytest.mark.usefixtures("in_torch")
CASES: dict[str, Callable[[], Neuron]] = {
    "LIF": lambda: LIF(5.0, v_reset=None, detach_reset=True),
    "LIF, hard": lambda: LIF(5.0, v_reset=-0.2, detach_reset=True),
    "LIF, reset with its gradient": lambda: LIF(5.0, decay_input=False),
    "LIF of many kinds": lambda: LIF(RAMP, v_reset=None, detach_reset=True),
    "LIF, refractory": lambda: LIF(5.0, refractory=2.0, detach_reset=True),
    "IF": lambda: IF(v_reset=None, detach_reset=True),
    "ALIF": lambda: ALIF(5.0, 20.0, beta=0.7, detach_reset=True, surrogate=Triangle(1.0)),
    "ALIF, all of its gradient": lambda: ALIF(5.0, 20.0, normalize=False),
    "CUBALIF": lambda: CUBALIF(6.0, 3.0, v_reset=None, detach_reset=True),
}
TRACED = ("LIF", "IF", "CUBALIF")


def spikes(steps: int = T) -> Tensor:
    return (torch.rand(steps, B, SENDERS, dtype=torch.float64) < 0.3).double()


def cut(layer: Recurrent, x: Tensor) -> Tensor:
    """A recurrent layer without the way back through its spikes."""
    state, outputs = None, []
    last = torch.zeros_like(x[0])
    for now in x:
        out, state = layer.neuron.run((now + layer.lateral(last.detach()))[None], state)
        last = out[0]
        outputs.append(last)
    return torch.stack(outputs)


def backpropagated(model: nn.Sequential, x: Tensor) -> Tensor:
    for module in model:
        x = cut(module, x) if isinstance(module, Recurrent) else module(x)
    return x


def grown(model: nn.Module) -> list[Tensor]:
    found = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    assert all(grad is not None and grad.abs().max() > 0 for grad in found)
    return found  # type: ignore[return-value]


def network(neuron: Neuron, kind: str) -> nn.Sequential:
    """Weights that let neurons fire in a fifth to a half of the steps."""
    layer: nn.Module = neuron
    if "recurrent" in kind:
        layer = Recurrent(neuron, nn.Linear(NEURONS, NEURONS))
    readout = [nn.Linear(NEURONS, OUT)] * ("readout" in kind or "leaky" in kind)
    leak = [LI(7.0, leak="exact")] * ("leaky" in kind)
    model = nn.Sequential(nn.Linear(SENDERS, NEURONS), layer, *readout, *leak).double()
    model[0].weight.data *= 3 if isinstance(neuron, IF) else 9
    model[0].bias.data.abs_()
    return model


@pytest.fixture
def in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel of all these neurons has to be compiled."""
    monkeypatch.setattr(Neuron, "backend", "torch")


@REFERENCE
@pytest.mark.parametrize("kind", ["recurrent", "readout", "recurrent leaky"])
@pytest.mark.parametrize("name", CASES)
def test_eprop_is_backpropagation_with_recurrent_spikes_detached(name: str, kind: str) -> None:
    model, x = network(CASES[name](), kind), spikes()
    target = torch.rand(T, *model(x).shape[1:], dtype=torch.float64)
    output = backpropagated(model, x)
    (output - target).pow(2).sum().backward()
    expected = grown(model)
    online = Online(model)
    for size in (T, 5, 1):
        found = []

        def loss(output: Tensor, start: int, found: list[Tensor] = found) -> Tensor:
            found.append(output.detach())
            return (output - target[start : start + len(output)]).pow(2).sum()

        total, mean = learn(online, x.split(size), loss)
        assert torch.equal(torch.cat(found), output)
        torch.testing.assert_close(total, (output - target).pow(2).sum())
        torch.testing.assert_close(mean, output.mean(0))
        torch.testing.assert_close(grown(model), expected, rtol=1e-9, atol=1e-11)


@REFERENCE
@pytest.mark.parametrize("name", TRACED)
def test_a_trace_says_as_much_as_all_synapses(name: str) -> None:
    """No array is as large as the synapses; that gradients are right is tested above."""
    model, x = network(CASES[name](), "recurrent"), spikes()
    online = Online(model, rule="ottt")
    _, state = online.run(x[:5])
    assert {kept.senders.shape[-1] for kept in state[0].kept} == {SENDERS, NEURONS}
    assert all(kept.senders.dim() == 3 for kept in state[0].kept)


def stack(tau: float = 3.0) -> nn.Sequential:
    def lif() -> LIF:
        return LIF(tau, v_reset=None, decay_input=False, detach_reset=True)

    model = nn.Sequential(
        TimeDistributed(nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(2)),
        lif(),
        TimeDistributed(ScaledWSConv2d(3, 4, 3, scale=2.74), nn.Flatten()),
        lif(),
        ScaledWSLinear(4, 5),
        Recurrent(lif(), nn.Linear(5, 5)),
        nn.Linear(5, OUT),
    ).double()
    model[0][0].weight.data *= 5
    model[5].lateral.bias.data += 1.0
    return model


@REFERENCE
def test_ottt_of_one_step_is_backpropagation() -> None:
    model, x = stack(), torch.rand(1, B, 2, 6, 6, dtype=torch.float64)
    model(x).pow(2).sum().backward()
    lateral = model[5].lateral.weight
    assert lateral.grad is not None
    assert not lateral.grad.any()  # no spike has come back yet
    lateral.grad = torch.ones_like(lateral)
    expected = grown(model)
    learn(Online(model, rule="ottt"), [x], lambda output, _: output.pow(2).sum())
    lateral.grad = torch.ones_like(lateral)
    torch.testing.assert_close(grown(model), expected, rtol=1e-9, atol=1e-11)


def by_hand(model: nn.Sequential, x: Tensor) -> None:
    """OTTT in plain torch, a step at a time: maps of traces in the place of maps of spikes."""
    lifs = [model[1], model[3], model[5].neuron]
    v: list[Tensor] = []
    a: dict[int, Any] = {}

    def traced(n: int, maps: nn.Module, z: Tensor, keeps: float) -> Tensor:
        """``maps(z)``, of which gradients by weights see the trace, those by ``z`` the weights."""
        a[n] = keeps * a.get(n, torch.zeros_like(z)) + z.detach()
        # A bias has its trace too: it is a weight from a sender that is always 1.
        a[-n] = keeps * a.get(-n, 0.0) + 1.0
        seen = a[n] + (z - z.detach())
        zero = maps(torch.zeros_like(z))
        with_gradient = maps(seen) + (a[-n] - 1.0) * zero
        return with_gradient + (maps(z) - with_gradient).detach()

    last = torch.zeros(B, 5, dtype=torch.float64)
    for now in x:
        z = now
        for n, lif in enumerate(lifs):
            keeps = 1.0 - 1.0 / float(lif.tau)
            maps = nn.Sequential(*model[2 * n]) if n < 2 else model[4]
            current = traced(n + 1, maps, z, keeps)
            if n == 2:
                current = current + traced(9, model[5].lateral, last, keeps)
            before = v[n] if len(v) > n else torch.zeros_like(current)
            u = keeps * before.detach() + current
            z = lif.surrogate.spike(u - lif.v_threshold)
            v[n : n + 1] = [u.detach() - z.detach() * lif.v_threshold]
        last = z.detach()
        model[6](z).pow(2).sum().backward()


@REFERENCE
def test_ottt_of_a_deep_network_is_that_of_steps_by_hand() -> None:
    model, x = stack(), torch.rand(12, B, 2, 6, 6, dtype=torch.float64)
    by_hand(model, x)
    expected = grown(model)
    for size in (12, 5, 1):
        learn(Online(model, rule="ottt"), x.split(size), lambda output, _: output.pow(2).sum())
        torch.testing.assert_close(grown(model), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.peers
def test_ottt_is_that_of_spikingjelly() -> None:
    """Its layers without biases, which have no traces there."""
    jelly = pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    assert jelly is not None
    sizes, tau = (SENDERS, 7, 6), 2.0
    peer = layer.OTTTSequential(
        *(
            each
            for n, m in pairwise(sizes)
            for each in (layer.Linear(n, m, bias=False), neuron.OTTTLIFNode(tau))
        )
    ).double()
    for weight in peer.parameters():
        weight.data = weight.data.abs() * 2
    assert isinstance(peer[1].surrogate_function, surrogate.Sigmoid)
    from spikesim.surrogate import Sigmoid

    def lif() -> LIF:
        gradient = Sigmoid(4.0)
        return LIF(tau, v_reset=None, decay_input=False, detach_reset=True, surrogate=gradient)

    maps = [nn.Linear(n, m, bias=False) for n, m in pairwise(sizes)]
    for own, its in zip(maps, (peer[0], peer[2]), strict=True):
        own.weight = its.weight
    model = nn.Sequential(maps[0], lif(), maps[1], lif())
    x, a = spikes(), torch.zeros(B, SENDERS, dtype=torch.float64)
    outputs = []
    for now in x:
        a = (1 - 1 / tau) * a + now
        out = peer([now, a])[0]
        out.pow(2).sum().backward()
        outputs.append(out.detach())
    functional.reset_net(peer)
    expected, found = grown(model), []

    def loss(output: Tensor, _: int) -> Tensor:
        found.append(output.detach())
        return output.pow(2).sum()

    learn(Online(model, rule="ottt"), x.split(7), loss)
    assert torch.equal(torch.cat(found), torch.stack(outputs))
    torch.testing.assert_close(grown(model), expected, rtol=1e-9, atol=1e-11)


def test_kernels_learn_as_the_reference_does() -> None:
    model, x = network(CASES["ALIF"](), "recurrent leaky"), spikes()
    found = []
    for backend in ("torch", "auto"):
        for module in model.modules():
            if isinstance(module, Neuron):
                module.backend = backend
        learn(Online(model), x.split(8), lambda output, _: output.pow(2).sum())
        found.append(grown(model))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-11)
