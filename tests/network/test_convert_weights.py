"""The way back: modules from networks, with the weights that the synapses have."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.network.convert import Converted, first_difference, to_network
from spikesim.neurons import ALIF, LIF, PLIF
from spikesim.recurrent import Recurrent


def events(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.4).double()


def stack() -> nn.Module:
    """Convolution and norm, an average of windows, linear maps, one of them recurrent."""
    module = SpikingSequential(
        TimeDistributed(nn.Conv2d(2, 4, 3, padding=1), BatchNorm(4)),
        PLIF(v_threshold=0.3),
        TimeDistributed(nn.AvgPool2d(2), nn.Conv2d(4, 5, 3, bias=False), BatchNorm(5)),
        LIF(v_threshold=0.3),
        TimeDistributed(nn.Flatten(), nn.Linear(5, 8)),
        Recurrent(ALIF(tau=3.0, v_threshold=0.1), nn.Linear(8, 8, bias=False)),
        nn.Linear(8, 3),
    )
    with torch.no_grad():
        for _ in range(20):
            module(events(5, 4, 2, 6, 6).float())
    return module


def ran(module: nn.Module, x: Tensor) -> Converted:
    """A network that is built."""
    network = to_network(module, x)
    network.run(x)
    return network


def learned(network: Converted, name: str, change: np.ndarray) -> None:
    """Add to the weights of the synapses onto a layer, in the order of their table."""
    synapses = next(p for _, p in network.synapses if p.post.name == name and p.pre is not p.post)
    assert isinstance(synapses.weight, np.ndarray)
    synapses.weight += np.rint(change / synapses.quantum).astype(synapses.weight.dtype)


def test_weights_that_nothing_changed_come_back_bit_for_bit() -> None:
    module, x = stack(), events(6, 2, 2, 6, 6)
    network = ran(module, x)
    back = network.to_module()
    before, after = module.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(a is b for a, b in zip(module.parameters(), back.parameters(), strict=True))
    assert first_difference(back, network, x) is None


def test_weights_that_were_learned_give_the_networks_spikes() -> None:
    module, x = stack(), events(8, 2, 2, 6, 6)
    network = to_network(module, x)
    before = network.run(x)
    learned(network, "5", np.random.default_rng(0).normal(0.0, 0.5, 5 * 8))
    after = network.run(x)
    assert not torch.equal(before, after)
    back = network.to_module().double()
    assert first_difference(back, network, x) is None
    with torch.no_grad():
        torch.testing.assert_close(back(x), after, rtol=1e-6, atol=1e-6)  # weights are float32
    changed = [
        key
        for key, weight in module.double().state_dict().items()
        if not torch.equal(weight, back.state_dict()[key])
    ]
    assert changed == ["4.1.weight"]


def test_a_kernel_whose_synapses_learned_alike_comes_back() -> None:
    module, x = stack(), events(6, 2, 2, 6, 6)
    network = ran(module, x)
    norm = module[2][2]
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    synapses = next(p for _, p in network.synapses if p.post.name == "3")
    # A quarter of each kernel entry, times the norm's scale, is on each synapse: add 0.25 to all.
    learned(network, "3", 0.25 * 0.25 * scale[synapses.table()["post"]])
    assert first_difference(network.to_module(), network, x) is None
    moved = network.to_module()[2][1].weight - module[2][1].weight
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25), rtol=0, atol=1e-6)


def test_a_kernel_whose_synapses_differ_is_refused() -> None:
    module, x = stack(), events(6, 1, 2, 6, 6)
    network = ran(module, x)
    one = np.zeros(len(next(p for _, p in network.synapses if p.post.name == "1")))
    one[17] = 0.5
    learned(network, "1", one)
    with pytest.raises(
        UserError, match=r"synapses that share 0.0.weight\[.*\] have come to differ"
    ):
        network.to_module()


def test_weights_that_cannot_be_taken_apart_are_refused() -> None:
    both = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), LIF())
    with pytest.raises(UserError, match=r"0.weight and 1.weight became one projection"):
        ran(both, events(4, 1, 4)).to_module()
    layers = (nn.Conv1d(1, 1, 3, padding=1), nn.AvgPool1d(3, stride=1))
    overlapping = nn.Sequential(TimeDistributed(*layers), LIF())
    with pytest.raises(UserError, match="are sums of several entries of 0"):
        ran(overlapping, events(4, 1, 1, 8)).to_module()


def test_weights_that_no_synapse_stands_for_stay() -> None:
    module = nn.Sequential(
        TimeDistributed(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)), LIF(v_threshold=0.2)
    )
    module[0][1].weight.data[1] = 0.0
    network = ran(module, events(4, 1, 1, 1, 1))  # only the middle of the kernel is seen
    back = network.to_module()
    assert torch.equal(back[0][0].weight, module[0][0].weight)
