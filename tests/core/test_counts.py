"""Which arrays are known to hold spikes or small counts, by how they were made."""

import pytest
import torch
from torch import Tensor, nn

from spikesim.counts import Following, emitted, followed
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, IF, ILIF, LI, LIF, PLIF, Izhikevich
from spikesim.ops import clamp, round_, spike, where
from spikesim.surrogate import ATan
from spikesim.types import Named


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(),
        LIF(v_reset=None, detach_reset=True),
        LIF(refractory=2.0),
        IF(),
        PLIF(),
        ALIF(),
        CUBALIF(),
        Izhikevich(),
    ],
    ids=lambda neuron: type(neuron).__name__,
)
def test_spiking_neurons_emit_zero_or_one(neuron: Neuron) -> None:
    assert emitted(neuron) == 1


@pytest.mark.parametrize("levels", [1, 4, 255])
def test_integer_neurons_emit_up_to_their_levels(levels: int) -> None:
    neuron = ILIF(levels=levels)
    assert emitted(neuron) == levels
    neuron.backend = "torch"
    assert int(neuron(torch.full((3, 1, 1), 1e6)).max()) == levels


def test_membranes_and_large_counts_are_not_known() -> None:
    assert emitted(LI()) is None
    assert emitted(ILIF(levels=256)) is None


class Custom(Neuron):
    """What it emits is for a test to say."""

    def __init__(self, emit: object) -> None:
        super().__init__()
        self.emit, self.surrogate = emit, ATan()

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        s = spike(inputs.x, self.surrogate)
        return state, self.emit(inputs.x, s)


@pytest.mark.parametrize(
    ("emit", "largest"),
    [
        (lambda x, s: where(x > 2.0, 0.0, s), 1),
        (lambda x, s: where(x > 2.0, 3.0, s), 3),
        (lambda x, s: where(x > 2.0, x, s), None),
        (lambda x, s: where(x > 2.0, 0.5, s), None),
        (lambda x, s: where(x > 2.0, -1.0, s), None),
        (lambda x, s: round_(clamp(x, 0.0, 2.5)), 2),
        (lambda x, s: round_(clamp(x, -3.0, 2.0)), None),
        (lambda x, s: round_(x), None),
        (lambda x, s: clamp(x, 0.0, 1.0), None),
        (lambda x, s: s * 0.5, None),
        (lambda x, s: x + s, None),
        (lambda x, s: x.exp(), None),  # cannot be recorded
    ],
)
def test_a_users_neuron_is_read_off_its_step(emit: object, largest: int | None) -> None:
    assert emitted(Custom(emit)) == largest


S = torch.tensor([[[0.0, 1.0, 0.0, 1.0]] * 4])


@pytest.mark.parametrize(
    ("make", "largest"),
    [
        (lambda s: s, 1),
        (lambda s: s.flatten(), 1),
        (lambda s: s.transpose(0, 1)[..., None].squeeze(-1)[:, :1], 1),
        (lambda s: s.transpose(1, 2).reshape(-1), 1),
        (lambda s: s.mT.contiguous(), 1),
        (lambda s: s.bfloat16().double(), 1),
        (lambda s: s.expand(3, 4, 4).clone(), 1),
        (lambda s: torch.cat([s, s]), 1),
        (lambda s: torch.stack([s, s + s]), 2),
        (lambda s: nn.functional.max_pool2d(s, 2), 1),
        (lambda s: s * s, 1),
        (lambda s: (s + s) * (s + s), 4),
        (lambda s: 1.0 - s, 1),
        (lambda s: (1.0 - s) * s, 1),
        (lambda s: s + 1, 2),
        (lambda s: (s > 0.5).to(s), 1),
        (lambda s: torch.where(s > 0.5, s, s + s), 2),
        (lambda s: s.flip(1).roll(1, 2), 1),
        (lambda s: sum([s] * 255), 255),
        (lambda s: sum([s] * 256), None),
        (lambda s: s * 0.5, None),
        (lambda s: s - s, None),
        (lambda s: -s, None),
        (lambda s: 1.0 - (s + s), None),
        (lambda s: 2.0 - s, None),
        (lambda s: torch.add(s, s, alpha=2), None),
        (lambda s: s.mean(1), None),
        (lambda s: nn.functional.avg_pool2d(s, 2), None),
        (lambda s: nn.functional.dropout(s, 0.5, training=True), None),
        (lambda s: torch.cat([s, s * 0.5]), None),
        (lambda s: s.clone().mul_(0.5), None),
        (lambda s: s.clone().view(-1).add_(1).view(4, 4), None),
        (lambda s: torch.mul(s, 0.5, out=s.clone()), None),
    ],
)
def test_what_becomes_of_spikes(make: object, largest: int | None) -> None:
    with torch.no_grad(), Following() as following:
        spikes = S.clone()
        following.learn(spikes, 1)
        assert following.largest(make(spikes)) == largest


def test_part_of_an_array_says_nothing_of_the_rest() -> None:
    following = Following()
    whole = torch.rand(4, 4)
    following.learn(whole[:2], 1)
    assert following.largest(whole) is None


def test_writing_to_a_view_is_noticed() -> None:
    with Following() as following:
        spikes = S.clone()
        following.learn(spikes, 1)
        spikes[0, 0, 0] = 0.5
        assert following.largest(spikes) is None


def test_neurons_and_pools_are_known_and_hooks_removed() -> None:
    model = nn.Sequential(LIF(), nn.MaxPool2d(2), ILIF(levels=3), LI())
    x = torch.rand(2, 3, 4, 4)
    with torch.no_grad(), followed(model) as following:
        seen = []
        for layer in model:
            x = layer(x)
            seen.append(following.largest(x))
    assert seen == [1, 1, 3, None]
    assert not any(module._forward_hooks for module in model.modules())
