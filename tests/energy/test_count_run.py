"""Counts of whole models: names, what is elementwise, what is unknown, what is left behind."""

from collections.abc import Iterator

import pytest
import torch
from counted import Block, lines, spikes
from torch import Tensor, nn

from spikesim.attention import SSA
from spikesim.batch_norm import BatchNorm
from spikesim.energy import Cost, count, estimate, neuron, register
from spikesim.energy.rules import RULES
from spikesim.energy.tally import tally_torch
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.network import AllToAll, Network
from spikesim.neurons import LIFDelta
from spikesim.neurons.lif import LIF

T, B = 3, 2


def test_elementwise_arithmetic_norms_and_poolings_by_hand() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.bn, self.dead = nn.LayerNorm(4), nn.BatchNorm2d(2), nn.Linear(4, 4)
            self.pools = nn.ModuleList((nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1), nn.GELU()))

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(x) * torch.sigmoid(x) + x
            y = self.bn(y.flatten(0, 1))
            for layer in self.pools:
                y = layer(y)
            return y.clamp_(0, 1)

    x = torch.randn(T, B, 2, 4, 4)
    counts = count(Odd(), x)
    found = lines(counts)
    n = T * 32
    norm = found["norm"]
    assert (norm.additions, norm.multiplications, norm.functions) == (4 * n, 3 * n, n / 4)
    gate = found["elementwise"]  # sum and product; 2 x 2 x 1 values are clamped on both sides
    assert (gate.additions, gate.multiplications, gate.functions) == (n + T * 4, n, n)
    average, maximum = found["pools.0"], found["pools.1"]
    assert (average.additions, average.multiplications) == (T * 8 * 3, T * 8)
    assert maximum.additions == T * 2 * (4 - 1)  # of 3 x 3 taps 2 x 2 are inside
    gelu = found["pools.2"]
    assert gelu.functions == T * 2
    assert found["bn"].note == "folded into its neighbour at inference"
    assert found["bn"].additions == 0
    unfolded = lines(count(Odd(), x, fold_batch_norm=False))["bn"]
    assert unfolded.additions == unfolded.multiplications == n
    assert found["dead"].note == "not used in this run"
    assert gate.nonzero_outputs == gate.outputs == n  # of the sigmoid
    assert {line.passes for name, line in found.items() if name not in ("dead", "bn")} == {T}


def test_a_norm_that_joined_its_neuron_is_named() -> None:
    model = SpikingSequential(TimeDistributed(nn.Conv2d(2, 3, 1), BatchNorm(3)), LIF())
    counts = count(model, spikes(T, B, 2, 4, 4), fold_batch_norm=False)
    found = lines(counts)
    assert list(found) == ["0.0", "0.1", "1"]
    assert found["0.1"].additions == T * 3 * 16


def test_what_torch_does_not_know_is_listed_and_can_be_told() -> None:
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            out = torch.empty(x.shape)
            out.numpy()[:] = x.numpy() * 2  # as kernels of other packages do
            return out

    class Sorts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(-1).values

    model, x = nn.Sequential(Own(), Sorts(), nn.Linear(4, 2)), spikes(T, B, 4)
    first, second = count(model, x).uncovered
    assert "0 (Own)" in first
    assert "register" in first
    assert "1 (Sorts): sort, 1 call" in second

    def doubled(module: Own, inputs: tuple[Tensor], output: Tensor) -> Cost:
        return Cost(kind="linear", macs=output.numel(), factors=inputs)

    costs = {
        Own: doubled,
        Sorts: lambda module, inputs, output: Cost(kind="elementwise", additions=8 * T * B),
    }
    counts = count(model, x, costs=costs)
    assert not counts.uncovered
    own, sorts, _ = counts
    assert (own.name, own.macs, own.ann_macs) == ("0", T * 4, 4)
    assert (own.effective_acs, own.spikes) == (T * 4, x.sum() / B)
    assert sorts.additions == T * 8
    register(Own, doubled)
    try:
        assert len(count(model, x).uncovered) == 1
    finally:
        del RULES[Own]


def test_neurons_of_a_user_are_registered() -> None:
    class Fires(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (torch.cumsum(x, 0) > 1).float()

    x = torch.ones(T, B, 4)
    as_it_is, told = count(Fires(), x), count(Fires(), x, costs={Fires: neuron})
    assert as_it_is.layers[0].kind == "elementwise"
    assert told.layers[0].spikes_per_step == (0, 4, 4)
    assert told.layers[0].updates == T * 4


def test_neither_mode_nor_hooks_nor_weights_remain() -> None:
    model, x = Block().train(), torch.randn(T, B, 2, 10, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model.eval()(x)
    model.train()
    seen = []
    count(model, x, reset=lambda m: seen.append(m), forward=lambda m, x: seen.append(m(x)))
    assert seen[0] is model
    assert torch.equal(seen[1], expected)  # and the run was the usual one
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert not torch.nn.modules.module._global_forward_hooks
    assert torch.backends.mha.get_fastpath_enabled()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ZeroDivisionError):
        count(model, x, forward=lambda m, x: 1 / 0)
    assert not torch.nn.modules.module._global_forward_hooks


def test_a_layer_that_fails_leaves_nothing_behind() -> None:
    """Neither inside a layer whose operations are hidden, nor outside."""
    for layer in (Attend(), LIF(), nn.BatchNorm1d(3), nn.Linear(3, 3)):
        with pytest.raises((RuntimeError, ValueError, UserError)):
            count(nn.Sequential(layer), torch.ones(T, B, 3, 2, 2), forward=lambda m, x: m(x.long()))
        assert count(nn.Linear(4, 3), torch.ones(T, B, 4)).total("macs") == T * 12


class Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ssa = SSA(0.25)

    def forward(self, x: Tensor) -> Tensor:
        return self.ssa(x.float(), x[..., :1].float(), x.float())


def test_nothing_is_read_while_batches_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU each of these would wait for it."""

    def forbidden(*_: object) -> None:
        raise AssertionError("a value was read")

    def batches() -> Iterator[Tensor]:
        with monkeypatch.context() as patch:
            for name in ("item", "tolist", "cpu", "nonzero", "__bool__", "__int__", "__float__"):
                patch.setattr(Tensor, name, forbidden)
            # The CPU's own way looks whether it may be quick.
            patch.setattr("spikesim.energy.tally._tally_numba", tally_torch)
            yield x
            yield x

    model, x = nn.Sequential(Block(), nn.Linear(4, 4), nn.GELU()), torch.randn(T, B, 2, 10, 10)
    counts = count(model, [x, x])  # and the geometry of its layers is known
    assert counts.layers == count(model, batches()).layers
    given = batches()
    with pytest.raises(AssertionError, match="a value was read"):
        count(nn.Sequential(Reads()), given)
    given.close()


class Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum())


def test_operations_in_inference_mode_are_the_same() -> None:
    @torch.inference_mode()
    def inferred(model: nn.Module, x: Tensor) -> Tensor:
        return model(x)

    model, x = Block(), torch.randn(T, B, 2, 10, 10)
    assert count(model, x).layers == count(model, x, forward=inferred).layers


def test_precision_of_the_model_and_its_attention() -> None:
    """Attention of torch has a fast path in one operation; here its products are seen."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dtype=torch.float64)
    counts = count(layer, torch.rand(5, 4, 8), layout="B")
    assert not counts.uncovered
    # Four maps of 8 x 8 and two of 8 x 16 a token, two products of 4 x 4 x 8.
    assert counts.total("macs") == 4 * (4 * 64 + 2 * 128) + 2 * 4 * 4 * 8
    assert not any(line.note for line in counts)


def test_silence_costs_nothing() -> None:
    counts = count(nn.Linear(4, 4), torch.zeros(T, B, 4))
    assert counts.total("effective_acs") == counts.total("effective_macs") == 0


def test_a_network_is_counted_over_time() -> None:
    net = Network(dt=1.0)
    cells = net.population(LIFDelta(), 5, name="cells")
    given = net.spikes([2.0, 5.0, 7.0], [0, 2, 0], 3, name="given")
    net.connect(given, cells, AllToAll(), delay=4.0)
    assert count(net, 10.0).total("effective_acs") == 3 * 5
    with pytest.raises(UserError, match="over a time in ms, got Tensor"):
        count(net, torch.ones(3))
    with pytest.raises(UserError, match="got function"):
        count(spikes, 10.0)
    with pytest.raises(UserError, match="batches"):
        count(nn.Linear(1, 1), 10.0)


def test_estimate_takes_what_count_takes() -> None:
    layer, x = nn.Linear(4, 3), spikes(B, T, 4)
    report = estimate(layer, x, layout="BT")
    assert report.totals.effective_acs == count(layer, x, layout="BT").total("effective_acs")
