"""Counts of whole models: how often a sample is repeated, and what each step does."""

import torch
from counted import lines, spikes
from torch import Tensor, nn
from torch.nn import functional as F

from spikesim.delays import DelayedLinear
from spikesim.energy import count
from spikesim.layers import TimeDistributed
from spikesim.neurons import IF
from spikesim.recurrent import Recurrent

T, B = 3, 2


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
