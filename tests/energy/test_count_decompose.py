"""Counts of what torch runs whole: recurrent layers, their cells, and the bilinear layer."""

import itertools
from typing import Any

import pytest
import torch
from counted import lines, spikes
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from spikesim.energy import LayerCounts, count

T, B = 3, 2
LAYERS = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
"""How many gates a layer has."""

TOLERANCE = 1e-6
"""Sums of a few products of 32 bits in another order."""


def flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value if part is not None for tensor in flat(part)]


@pytest.mark.parametrize("make", LAYERS)
def test_recurrent_layer_by_hand(make: type[nn.RNNBase]) -> None:
    """Spikes accumulate in ``W_ih``, states multiply in ``W_hh`` from the second step on."""
    layer, gates = make(3, 4), LAYERS[make]
    x = spikes(T, B, 3)
    counts = count(layer, x)
    found = lines(counts)
    assert list(found) == ["weight_ih_l0", "weight_hh_l0", "elementwise"]
    given, back, _ = found.values()
    assert (given.macs, given.ann_macs, given.passes) == (T * 3 * 4 * gates, 3 * 4 * gates, T)
    each = x.flatten(1).sum(1).mul(4 * gates / B)
    assert given.operations_per_step == tuple(each.tolist())
    assert (given.effective_acs, given.effective_macs) == (each.sum(), 0)
    assert (given.weights, given.biases) == (3 * 4 * gates, 4 * gates)
    assert (back.macs, back.ann_macs) == (T * 4 * 4 * gates, 4 * 4 * gates)
    assert back.operations_per_step == (0, 16 * gates, 16 * gates)
    assert (back.effective_macs, back.effective_acs) == ((T - 1) * 16 * gates, 0)
    assert (given.kind, back.kind) == ("linear", "recurrent")
    assert (back.values, back.weights, back.biases) == ("real", 16 * gates, 4 * gates)


@pytest.mark.parametrize("make", LAYERS)
def test_weights_are_told_apart_in_other_precision_and_mode(make: type[nn.RNNBase]) -> None:
    layer, x = make(3, 4), spikes(T, B, 3)
    expected = count(layer, x)

    def cast(model: nn.Module, x: Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            model(x)

    def inferred(model: nn.Module, x: Tensor) -> None:
        with torch.inference_mode():
            model(x)

    for forward in (cast, inferred):
        found = count(layer, x, forward=forward)
        for one, other in zip(found, expected, strict=True):
            assert (one.name, one.values, one.operations) == (
                other.name, other.values, other.operations,
            )  # fmt: skip


def test_gates_by_hand() -> None:
    """Of one hidden value and step: what the equations say."""
    found = {}
    for make in LAYERS:
        gates = lines(count(make(3, 1), spikes(1, 1, 3)))["elementwise"]
        found[make] = gates.additions, gates.multiplications, gates.functions
    assert found[nn.LSTM] == (4 + 1, 2 + 1, 3 + 2)
    assert found[nn.GRU] == (3 + 2, 2, 3)
    assert found[nn.RNN] == (1, 0, 1)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        *itertools.product(
            LAYERS,
            (
                {"num_layers": 2, "bidirectional": True},
                {"batch_first": True, "bias": False},
                {"bidirectional": True, "dropout": 0.5, "num_layers": 3},
            ),
        ),
        (nn.LSTM, {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
        (nn.RNN, {"nonlinearity": "relu"}),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_outputs_are_those_of_torch_and_counts_the_sum_over_weights(
    make: type[nn.RNNBase], options: dict[str, Any]
) -> None:
    layer, x = make(3, 4, **options).eval(), spikes(T, B, 3)
    x = x.transpose(0, 1) if layer.batch_first else x
    way = layer.num_layers * (1 + layer.bidirectional)
    first = torch.rand(way, B, layer.proj_size or 4)
    hx = (first, torch.rand(way, B, 4)) if make is nn.LSTM else first
    packed = pack_padded_sequence(x, [3, 2], layer.batch_first)
    for args in ((x,), (x, hx), (x[0], None), (packed, hx)):
        expected, seen = layer(*args), []
        counts = count(
            layer, x, layout="BT" if layer.batch_first else "TB",
            forward=lambda m, _, args=args, seen=seen: seen.append(m(*args)),
        )  # fmt: skip
        for one, other in zip(flat(seen), flat(expected), strict=True):
            torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=TOLERANCE)
        weights = [p.numel() for name, p in layer.named_parameters() if "weight" in name]
        steps = {id(x): T * B, id(packed): 5}.get(id(args[0]), len(args[0]))
        assert counts.total("macs") == steps * sum(weights) / B
        assert counts.total("weights") == sum(weights)


def test_samples_of_other_lengths_are_run_to_their_end_only() -> None:
    layer = nn.GRU(3, 4)
    packed = pack_padded_sequence(torch.ones(T, B, 3), [3, 1])
    counts = count(layer, torch.ones(T, B, 3), forward=lambda m, _: m(packed))
    given = lines(counts)["weight_ih_l0"]
    assert given.macs == given.effective_acs == (3 + 1) * 3 * 12 / B


@pytest.mark.parametrize(
    ("make", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)], ids=str
)
def test_cells_by_hand(make: type[nn.RNNCellBase], gates: int) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = make(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            state = None
            for step in x:
                state = self.cell(step, state)
            return state[0] if isinstance(state, tuple) else state

    x, seen = spikes(T, B, 3), []
    model = Loop()
    found = lines(count(model, x, forward=lambda m, x: seen.append(m(x))))
    torch.testing.assert_close(seen[0], model(x), atol=TOLERANCE, rtol=TOLERANCE)
    given, back = found["cell weight_ih"], found["cell weight_hh"]
    assert given.effective_acs == x.sum() * 4 * gates / B
    assert (back.macs, back.effective_macs) == (T * 16 * gates, (T - 1) * 16 * gates)
    assert (given.passes, back.passes) == (T, T)
    assert counts_weights(found) == sum(p.numel() for p in model.cell.parameters())


def counts_weights(found: dict[str, LayerCounts]) -> float:
    return sum(line.weights + line.biases for line in found.values())


def test_bilinear_by_hand() -> None:
    """An input of ``I`` meets ``O J`` weights, each of the ``O J`` sums one value of the other."""
    layer, x, z = nn.Bilinear(3, 5, 4), spikes(T, B, 3), spikes(T, B, 5)
    x[0, 0, 0] = z[0, 0, 0] = 1
    seen = []
    counts = count(layer, x, forward=lambda m, x: seen.append(m(x, z)))
    torch.testing.assert_close(seen[0], layer(x, z), atol=TOLERANCE, rtol=TOLERANCE)
    assert not counts.uncovered
    first, second, added = counts
    assert (first.kind, first.macs, first.ann_macs) == ("linear", T * 3 * 5 * 4, 3 * 5 * 4)
    assert first.effective_acs == x.sum() * 5 * 4 / B
    assert (first.weights, first.passes) == (3 * 5 * 4, T)
    assert (second.kind, second.macs) == ("attention", T * 5 * 4)
    # Sums of random weights over no input are zero.
    met = (x.sum(-1) > 0).float() * z.sum(-1) * 4
    assert second.effective_acs == met.sum() / B
    assert added.additions == T * 4


def test_weights_that_take_turns_at_one_place_have_lines_of_their_own() -> None:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ws = nn.ParameterList([torch.rand(4, 4) for _ in range(2)])
            self.ws[1].data[0] = 0

        def forward(self, x: Tensor) -> Tensor:
            for w in self.ws:
                x = x @ w
            return x

    first, second = count(Turns(), spikes(T, B, 4))
    assert (first.name, second.name) == ("x @ w", "x @ w #2")
    assert (first.nonzero_weights, second.nonzero_weights) == (16, 12)
    assert first.ann_macs == second.ann_macs == 16
    assert (first.values, second.values) == ("binary", "real")


def test_what_did_not_run_says_so() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].spare = nn.LSTM(2, 2)
    model[0].other = nn.Bilinear(2, 3, 1)
    notes = {line.name: line.note for line in count(model, torch.ones(T, 1, 3))}
    assert notes["0.spare"] == notes["0.other"] == "not used in this run"
    assert notes["0"] == ""
