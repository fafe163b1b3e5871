"""A layer with packed spikes: the gradients of torch, bit for bit, and what it keeps for them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim import packed
from spikesim.attention import SSA
from spikesim.errors import UserError
from spikesim.kernels import bits
from spikesim.layers import TimeDistributed
from spikesim.memory import pack_spikes, packed_layers
from spikesim.neurons import ILIF

Helper = Callable[..., Any]


CONVOLUTIONS = {
    "linear": (nn.Linear(6, 5), (7, 6)),
    "linear without bias": (nn.Linear(6, 5, bias=False), (7, 6)),
    "linear on [T, B, N, C]": (nn.Linear(6, 5), (2, 3, 4, 6)),
    "linear on one vector": (nn.Linear(6, 5), (6,)),
    "conv1d": (nn.Conv1d(4, 6, 3, padding=1), (3, 4, 9)),
    "conv2d strided, dilated, grouped": (
        nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, bias=False),
        (3, 4, 9, 8),
    ),
    "conv2d same": (nn.Conv2d(4, 6, 3, padding="same"), (3, 4, 9, 8)),
    "conv2d valid": (nn.Conv2d(4, 6, 3, padding="valid"), (3, 4, 9, 8)),
    "conv2d depthwise": (nn.Conv2d(4, 4, 3, groups=4), (3, 4, 9, 8)),
    "conv2d unbatched": (nn.Conv2d(4, 6, 3), (4, 9, 8)),
    "conv3d": (nn.Conv3d(2, 3, 3, padding=1), (2, 2, 4, 5, 6)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_layers_have_the_gradients_of_torch(
    name: str, dtype: torch.dtype, grown: Helper, assert_same: Helper, fire: type[nn.Module]
) -> None:
    layer, shape = CONVOLUTIONS[name]
    plain = nn.Sequential(fire(), copy.deepcopy(layer)).to(dtype)
    small = pack_spikes(copy.deepcopy(plain), torch.zeros(shape, dtype=dtype), check=True)
    assert packed_layers(small) == {"1": 1}
    x = torch.randn(shape).to(dtype)
    assert_same(grown(x, small), grown(x, plain))
    transposed = x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.dim() > 1 else x
    assert_same(grown(transposed, small), grown(transposed, plain))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_padding_that_is_no_zeros_is_left_alone(fire: type[nn.Module]) -> None:
    circular = nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    one_sided = nn.Conv1d(2, 2, 2, padding="same")
    model = nn.Sequential(fire(), circular, fire(), nn.Conv1d(2, 2, 4), fire(), one_sided)
    assert packed_layers(pack_spikes(model, torch.zeros(2, 2, 9))) == {"3": 1}


def test_input_is_kept_as_one_bit_a_value(kept_bytes: Helper, fire: type[nn.Module]) -> None:
    model = pack_spikes(nn.Sequential(fire(), nn.Conv2d(8, 8, 3)), torch.zeros(1, 8, 8, 8))
    spikes = (torch.rand(4, 8, 32, 32) < 0.2).float()
    assert kept_bytes(lambda: model[1](spikes), model) * 32 == spikes.nbytes


class Attention(nn.Module):
    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron, self.product = neuron, SSA(0.25)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        return self.product(spikes, spikes.roll(1, 0), spikes.roll(2, 0))


def test_attention_keeps_bits(
    monkeypatch: pytest.MonkeyPatch, grown: Helper, assert_same: Helper, fire: type[nn.Module]
) -> None:
    model = Attention(fire())
    x = torch.randn(2, 3, 2, 64, 16, requires_grad=True)
    plain = grown(x, model)
    assert packed_layers(pack_spikes(model, x.detach())) == {"product": 1}
    kept: list[Tensor] = []
    pack = packed._packed
    monkeypatch.setattr(packed, "_packed", lambda *a: kept.append(pack(*a)) or kept[-1])
    assert_same(grown(x, model), plain)
    assert sum(small.nbytes for small in kept) == 3 * x.nbytes / 32


class QKV(nn.Module):
    """Three maps of the same spikes, as in attention."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = neuron
        self.q, self.k, self.v = (TimeDistributed(nn.Conv2d(8, 8, 1)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        s = self.neuron(x)
        return self.q(s) + self.k(s) + self.v(s)


@pytest.mark.parametrize(("levels", "share"), [(None, 32), (4, 4)])
def test_maps_of_the_same_spikes_keep_them_once(
    levels: int | None,
    share: int,
    monkeypatch: pytest.MonkeyPatch,
    kept_bytes: Helper,
    fire: type[nn.Module],
) -> None:
    neuron = fire() if levels is None else ILIF(levels=levels)
    x = torch.randn(2, 4, 8, 16, 16)
    model = pack_spikes(QKV(neuron), x)
    assert len(packed_layers(model)) == 3
    with torch.no_grad():
        spikes = neuron(x)
    model.neuron = nn.Identity()
    calls = []
    pack = bits.pack
    monkeypatch.setattr(bits, "pack", lambda x: calls.append(1) or pack(x))
    assert kept_bytes(lambda: model(spikes), model) * share == x.nbytes
    assert len(calls) == (share == 32)
    spikes[0].zero_()  # changed in place: packed anew
    model(spikes)
    assert len(calls) == 2 * (share == 32)


def test_spikes_that_were_packed_last_are_not_held(fire: type[nn.Module]) -> None:
    model = pack_spikes(nn.Sequential(fire(), nn.Linear(4, 4)), torch.zeros(2, 4))
    model(torch.randn(2, 4, requires_grad=True)).sum().backward()
    assert packed._latest._entry is None


def test_frozen_weights_keep_nothing(kept_bytes: Helper, fire: type[nn.Module]) -> None:
    model = pack_spikes(nn.Sequential(fire(), nn.Linear(64, 64)), torch.zeros(8, 64))
    model[1].weight.requires_grad_(False)
    spikes = torch.ones(8, 64, requires_grad=True)
    assert kept_bytes(lambda: model[1](spikes), model) == 0


def test_second_derivative_is_refused(fire: type[nn.Module]) -> None:
    model = pack_spikes(nn.Sequential(fire(), nn.Linear(4, 2)), torch.zeros(3, 4))
    x = torch.ones(3, 4, requires_grad=True)
    (of_x,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        of_x.sum().backward()


@pytest.mark.parametrize(("levels", "wish"), [(None, "0 or 1"), (3, "0 to 3")])
def test_check_names_the_layer_whose_input_is_not_spikes(
    levels: int | None, wish: str, fire: type[nn.Module]
) -> None:
    neuron = fire() if levels is None else ILIF(levels=levels)
    layers = nn.Sequential(neuron, nn.Linear(4, 2))
    model = nn.Sequential(layers)
    pack_spikes(model, torch.zeros(3, 2, 4), check=True)
    layers[1](torch.ones(3, 4))
    for wrong in (0.5, -1.0, 5.0, float("nan")):
        with pytest.raises(UserError, match=rf"'0\.1' is not .*{wish}"):
            layers[1](torch.full((3, 4), wrong))
