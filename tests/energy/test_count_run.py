"""Counts of whole models: steps, names, what is elementwise, what is unknown, and bad input."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from spikesim.attention import SDSA, SSA
from spikesim.batch_norm import BatchNorm
from spikesim.delays import DelayedLinear
from spikesim.energy import Cost, Counts, LayerCounts, Widths, count, estimate, neuron, register
from spikesim.energy.rules import RULES
from spikesim.energy.tally import tally_torch
from spikesim.errors import UserError
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.network import AllToAll, Network
from spikesim.neurons import IF, LIFDelta
from spikesim.neurons.lif import LIF
from spikesim.recurrent import Recurrent

T, B = 3, 2


def spikes(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.3).float()


def lines(counts: Counts) -> dict[str, LayerCounts]:
    assert not counts.uncovered
    return {layer.name: layer for layer in counts}


class Block(nn.Module):
    """A small spike-driven transformer block on maps, with a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = TimeDistributed(nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8))
        self.pool = TimeDistributed(nn.MaxPool2d(2))
        self.fire = LIF()
        self.qkv = TimeDistributed(nn.Linear(8, 24))
        self.fire_qkv = LIF(v_threshold=0.3)
        self.ssa, self.sdsa = SSA(0.25), SDSA()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fire(self.pool(self.stem(x))).flatten(-2).transpose(-1, -2)
        q, k, v = self.fire_qkv(self.qkv(x)).chunk(3, -1)
        return self.head(self.drop(self.ssa(q, k, v) + self.sdsa(q, k, v)).mean(-2))


def test_dense_macs_equal_torch_flop_counter() -> None:
    """Without zero padding, where the two definitions agree; a FLOP counter takes 2 per MAC."""
    model, x = Block(), torch.randn(T, B, 2, 10, 10)
    counts = count(model, x)
    with FlopCounterMode(display=False) as counter:
        model(x)
    masks = sum(line.macs for line in counts if line.name.startswith("sdsa "))
    assert counts.total("macs") - masks == counter.get_total_flops() / 2 / B
    assert masks == T * 2 * 16 * 8
    assert counts.total("ann_macs") == counts.total("macs") / T


def resnet18() -> nn.Module:
    """He et al. (2015), ResNet-18 for 224 x 224 pixels; borders are repeated instead of zero."""

    class Basic(nn.Module):
        def __init__(self, fan_in: int, width: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                conv(fan_in, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(),
                conv(width, width, 3, 1), nn.BatchNorm2d(width),
            )  # fmt: skip
            is_same = fan_in == width
            self.shortcut = nn.Identity() if is_same else conv(fan_in, width, 1, stride)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.shortcut(x) + self.body(x))

    def conv(fan_in: int, width: int, kernel: int, stride: int) -> nn.Module:
        how = {"padding": kernel // 2, "padding_mode": "replicate", "bias": False}
        return nn.Conv2d(fan_in, width, kernel, stride, **how)

    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [
        Basic(fan_in, width, 1 if fan_in == width else 2) for fan_in, width in pairwise(widths)
    ]
    stem = [conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(
        *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)
    )


def test_resnet18_equals_the_published_numbers_of_syops() -> None:
    """1.82 GMACs and 8.372 mJ at 4.6 pJ (README of syops-counter, which adds norms to them).

    By hand, with taps on borders: a block of width c at n x n pixels is 9 c c n n a convolution.
    """
    by_hand = 49 * 3 * 64 * 112**2 + 4 * 9 * 64 * 64 * 56**2 + 512 * 1000
    for c, n in ((128, 28), (256, 14), (512, 7)):
        by_hand += (9 * c * c // 2 + 3 * 9 * c * c + c * c // 2) * n * n
    counts = count(resnet18(), torch.rand(1, 3, 224, 224), layout="B")
    assert counts.total("macs") == counts.total("ann_macs") == by_hand == 1_814_073_344
    assert by_hand == pytest.approx(1.82e9, rel=0.005)
    # Ours differ by what meets a zero.
    assert 4.6e-9 * by_hand == pytest.approx(8.372, rel=0.005)
    assert counts.parameters == 11_689_512 - 2 * (128 + 256 + 512)  # shortcuts have no norm here
    assert counts.total("effective_acs") == 0
    assert "no spiking neurons" in counts.notes[0]


def test_totals_are_sums_and_nothing_is_dropped() -> None:
    counts = count(Block(), torch.randn(T, B, 2, 10, 10))
    kinds = {name: line.kind for name, line in lines(counts).items()}
    assert kinds["stem.1"] == "norm"
    assert kinds["pool.0"] == "pool"
    assert kinds["elementwise"] == "elementwise"
    assert {name for name, kind in kinds.items() if kind == "neuron"} == {
        "fire",
        "fire_qkv",
        "sdsa.neuron",
    }
    assert counts.notes == ()
    for name in ("macs", "effective_macs", "updates", "additions"):
        assert counts.total(name) == sum(getattr(line, name) for line in counts)


def test_neurons_by_hand() -> None:
    """Two neurons, three steps: an update each, one state variable, the spikes of each step."""
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])[:, None]
    (line,) = count(nn.Sequential(IF()), x)
    assert (line.updates, line.state_reads, line.state_writes) == (6, 6, 6)
    assert (line.spikes, line.rate, line.spikes_per_step) == (3, 0.5, (1, 2, 0))
    assert (line.outputs, line.nonzero_outputs) == (6, 3)
    assert line.traffic(Widths()).state_reads == 6 * 32


def test_rates_and_steps_are_the_models_own() -> None:
    model, x = Block().eval(), torch.randn(T, B, 2, 10, 10)
    fired = model.fire(model.pool(model.stem(x))).detach()
    line = lines(count(model, x))["fire"]
    assert 0 < line.rate == pytest.approx(float(fired.mean()))
    assert line.spikes_per_step == tuple(fired.flatten(1).sum(1).div(B).tolist())


def test_counts_are_means_per_sample_whatever_the_batches() -> None:
    model, x = Block(), torch.randn(T, 6, 2, 10, 10)
    x[:, 0] = spikes(T, 2, 10, 10)  # one sample with binary input does not make the layer binary
    whole = count(model, x)
    parts = count(model, [(part, None) for part in x.split((1, 3, 2), dim=1)])
    assert whole.samples == parts.samples == 6
    for one, other in zip(whole, parts, strict=True):
        assert one.name == other.name
        for name in ("macs", "effective_macs", "effective_acs", "ann_macs", "updates", "spikes"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))
        assert one.operations_per_step == pytest.approx(other.operations_per_step)


class Looped(nn.Module):
    """The same layers, step by step, over the whole sequence, or over its steps as a batch."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv, self.fc = how, nn.Conv1d(2, 3, 3, padding=1), nn.Linear(15, 15)
        self.w = nn.Parameter(torch.rand(15, 15))

    def layers(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x)).flatten(1)
        y = self.fc(y) @ self.w
        return y[:, :, None] @ y[:, None]

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "loop":
            return torch.stack([self.layers(step) for step in x])
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def test_steps_are_found_in_loops_and_batches() -> None:
    x = spikes(T, B, 2, 5)
    loop, batch = Looped("loop"), Looped("batch")
    batch.load_state_dict(loop.state_dict())
    first, second = count(loop, x), count(batch, x)
    assert list(first) == list(second)
    conv = lines(first)["conv"]
    assert conv.passes == T
    assert conv.ann_macs == conv.macs / T == 2 * 3 * 13
    assert len(conv.spikes_per_step) == T
    assert conv.spikes_per_step == tuple(x.flatten(1).sum(1).div(B).tolist())


def test_samples_first_and_no_time() -> None:
    x = spikes(T, B, 7)
    layer = nn.Linear(7, 5)
    assert count(layer, x).layers == count(layer, x.transpose(0, 1), layout="BT").layers
    still = count(layer, x[0], layout="B")
    assert (still.steps, still.samples, still.layers[0].passes) == (1, B, 1)
    twice = count(layer, x[0], layout="B", steps=2, forward=lambda m, x: [m(x), m(x)])
    assert twice.total("macs") == 2 * twice.total("ann_macs") == 2 * 35


def test_twice_the_steps_twice_the_operations_but_one_ann() -> None:
    layer, x = TimeDistributed(nn.Conv2d(2, 3, 3, padding=1)), spikes(T, B, 2, 5, 5)
    once, twice = count(layer, x), count(layer, torch.cat((x, x)))
    assert twice.total("effective_acs") == 2 * once.total("effective_acs")
    assert twice.total("macs") == 2 * once.total("macs")
    assert twice.total("ann_macs") == once.total("ann_macs")
    assert twice.as_ann() == once.as_ann() or twice.as_ann().total("macs") == once.total("ann_macs")


def test_a_layer_after_the_mean_over_time_runs_once() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.mean(0))

    found = lines(count(Mean(), spikes(T, B, 5)))
    assert found["head"].macs == found["head"].ann_macs == 15
    assert found["head"].operations_per_step == ()
    mean = found["elementwise"]
    assert (mean.additions, mean.multiplications) == (T * 5, 5)


def test_equal_steps_and_batch_are_told_apart() -> None:
    (line,) = count(nn.Linear(5, 3), spikes(4, 4, 5))
    assert line.ann_macs == 15


def test_recurrence_meets_its_own_spikes() -> None:
    layer = Recurrent(IF(), nn.Linear(2, 2, bias=False))
    nn.init.ones_(layer.lateral.weight)
    x = torch.zeros(3, 1, 2)
    x[0, 0, 0] = 1.0
    back, cells = count(layer, x)  # spikes: one, two, two
    assert (back.name, back.kind, back.macs, back.ann_macs) == ("lateral", "recurrent", 12, 4)
    assert back.operations_per_step == (0, 2, 4)
    assert (cells.kind, cells.spikes_per_step) == ("neuron", (1, 2, 2))


def test_layers_after_one_that_lengthens_the_sequence_have_its_steps() -> None:
    model = nn.Sequential(
        DelayedLinear(3, 4, max_delay=4, lengthen=True), TimeDistributed(nn.Linear(4, 5))
    )
    first, second = count(model, spikes(4, B, 3))
    assert (first.kind, first.ann_macs, first.passes) == ("delay", 12, 4)
    assert (second.macs, second.ann_macs, second.passes) == (6 * 20, 20, 6)


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


NAN = torch.full((T, B, 4), torch.nan)


def broken(change: Callable[[nn.Linear], object]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.Linear(4, 4))
    change(model[2])
    return model


class Divides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x - x)


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (nn.Linear(4, 4), [], "no batch"),
        (nn.Linear(4, 4), torch.ones(0, B, 4), r"a batch is \[0, 2, 4\]; expected \[T, B, ...\]"),
        (nn.Linear(4, 4), [torch.ones(T, 0, 4)], "not empty"),
        (nn.Linear(4, 4), torch.ones(4), r"expected \[T, B, ...\]"),
        (nn.Linear(4, 4), [None], "a batch is a tensor, .* got NoneType"),
        (nn.Linear(4, 4), [torch.ones(2, B, 4), torch.ones(3, B, 4)], "2 and 3 steps"),
        (nn.Linear(4, 4), [torch.ones(T, B, 4), NAN], "batch 1 of the data"),
        (broken(lambda m: m.weight.data[0].fill_(torch.nan)), torch.ones(T, B, 4), "2.weight"),
        (nn.Sequential(Divides(), nn.Linear(4, 4)), torch.ones(T, B, 4), "layer '1' gave"),
    ],
)
def test_bad_input_is_named(model: nn.Module, data: list[Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        count(model, data)


def test_bad_arguments_are_named() -> None:
    layer, x = nn.Linear(4, 4), torch.ones(T, B, 4)
    with pytest.raises(UserError, match="no layout 'TX'"):
        count(layer, x, layout="TX")
    with pytest.raises(UserError, match="steps must be >= 1, got 0"):
        count(layer, x, steps=0)
    with pytest.raises(UserError, match=r"class of torch.nn.Module, got 3"):
        register(3, lambda *_: ())
    with pytest.raises(UserError, match="cost of Linear must be a function"):
        count(layer, x, costs={nn.Linear: 7})
