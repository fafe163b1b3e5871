"""Which operations repeat over steps: told from what happens to time, not from lengths alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.energy import count
from spikesim.neurons import LIF

T = 4
Forward = Callable[[nn.Module, Tensor], Any]


class TimeFirst(nn.Module):
    """Takes ``[B, T, ...]`` and turns it, as models of SpikingJelly do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.neuron, self.fc2 = nn.Linear(6, 5), LIF(), nn.Linear(5, 3)
        nn.init.uniform_(self.fc1.weight, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.neuron(self.fc1(x.transpose(0, 1))))
        return y


@pytest.mark.parametrize("batch", [3, T])
def test_samples_first_outside_and_time_first_inside(batch: int) -> None:
    x = (torch.rand(batch, T, 6) < 0.5).float()
    x[:, 0] = 0
    first, neuron, second = count(TimeFirst(), x, layout="BT")
    assert (first.ann_macs, second.ann_macs, neuron.passes) == (30, 15, T)
    assert first.spikes_per_step == pytest.approx(x.sum((0, 2)) / batch)


@pytest.mark.parametrize("dim", [0, 1])
def test_an_image_that_the_model_repeats_along_any_dimension(dim: int) -> None:
    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.unsqueeze(dim).repeat_interleave(T, dim))  # type: ignore[no-any-return]

    (layer,) = count(Repeats(), torch.rand(3, 6), layout="B", steps=T)
    assert (layer.macs, layer.ann_macs) == (T * 30, 30)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m(x),
        lambda m, x: m(x.transpose(0, 1)),
        lambda m, x: [m(step) for step in x],
        lambda m, x: [m(piece) for piece in x.split(2)],
        lambda m, x: [m(x[:3]), m(x[3:])],
        lambda m, x: torch.vmap(m)(x),
        lambda m, x: m(x.mean(0).repeat(T, 1, 1)),
    ],
)
def test_however_a_sequence_is_run_its_operations_repeat(forward: Forward) -> None:
    model = nn.Linear(6, 5)
    (layer,) = (one for one in count(model, torch.rand(T, 3, 6), forward=forward) if one.macs)
    assert (layer.macs, layer.ann_macs, layer.passes) == (T * 30, 30, T)


def test_pieces_of_a_sequence_keep_the_order_of_its_steps() -> None:
    x = torch.zeros(T, 1, 3)
    x[2] = 1

    def forward(model: nn.Module, x: Tensor) -> list[Tensor]:
        return [model(piece) for piece in x.split(2)]

    (layer,) = count(nn.Linear(3, 2), x, forward=forward)
    assert layer.spikes_per_step == (0, 0, 3, 0)


class AfterTime(nn.Module):
    """Attention of tokens, and a block of any depth, behind a reduction of time."""

    def __init__(self, reduce: Callable[[Tensor], Tensor], depth: int = 1) -> None:
        super().__init__()
        self.reduce, self.depth = reduce, depth
        self.attention, self.fc = nn.MultiheadAttention(8, 2), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x).transpose(0, 1)
        y = self.attention(y, y, y)[0]
        for _ in range(self.depth):
            y = torch.relu(self.fc(y))
        return y


REDUCTIONS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.mean(0),
    lambda x: x.sum(dim=0),
    lambda x: x.amax(0),
    lambda x: x.max(0).values,
]


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("batch", [1, 2, 3, T])
@pytest.mark.parametrize("tokens", [T, 15, 16])
def test_what_runs_after_time_is_over_runs_once(
    reduce: Callable[[Tensor], Tensor], batch: int, tokens: int
) -> None:
    counts = count(AfterTime(reduce, depth=T), torch.rand(T, batch, tokens, 8))
    products = [layer for layer in counts if layer.macs]
    assert [layer.ann_macs for layer in products] == [layer.macs for layer in products]
    assert counts.total("macs") == tokens * 8 * (4 + T) * 8 + 2 * tokens**2 * 8


def test_the_larger_of_two_arrays_is_no_maximum_over_time() -> None:
    model, x = nn.Linear(6, 5), torch.rand(T, 3, 6)
    counts = count(model, x, forward=lambda m, x: m(torch.max(x, x.flip(-1))))
    (layer,) = (one for one in counts if one.kind == "linear")
    assert (layer.macs, layer.ann_macs) == (T * 30, 30)


def test_a_mean_over_tokens_is_none_over_time() -> None:
    model = nn.Linear(8, 3)
    counts = count(model, torch.rand(T, 2, 5, 8), forward=lambda m, x: m(x.mean(2)))
    (layer,) = (one for one in counts if one.macs)
    assert (layer.macs, layer.ann_macs) == (T * 24, 24)


class Buffered(nn.Module):
    """A recurrent layer whose state is a buffer of the user's."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.inp, self.rec = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.register_buffer("state", torch.zeros(batch, 6))

    def forward(self, x: Tensor) -> Tensor:
        self.state.copy_((self.inp(x) + self.rec(self.state) > 0).float())
        return self.state.clone()


def test_a_state_in_a_buffer_is_a_state_from_the_first_step_on() -> None:
    torch.manual_seed(0)
    model, x = Buffered(2), (torch.rand(T, 2, 6) < 0.5).float()
    active = 0
    with torch.no_grad():
        for step in x:
            active += int(model.state.count_nonzero())
            model(step)

    def reset(model: Buffered) -> None:
        model.state.zero_()

    def forward(model: nn.Module, x: Tensor) -> list[Tensor]:
        return [model(step) for step in x]

    for batches in ([x], [x, x]):
        counts = {one.name: one for one in count(model, batches, forward=forward, reset=reset)}
        assert (counts["rec"].macs, counts["rec"].ann_macs) == (T * 36, 36)
        assert counts["rec"].operations == active * 6 / 2
