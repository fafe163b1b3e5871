"""Which layers of a model keep packed spikes: training gives the same bits, in less memory."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.attention import SDSA
from spikesim.errors import UserError
from spikesim.memory import pack_spikes, packed_layers, unpack_spikes
from spikesim.neurons import ILIF, LIF

Helper = Callable[..., Any]
MODELS = ("sdt", "spikformer", "spiking_vgg", "sew_resnet")


def autocast(amp: bool) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if amp else nullcontext()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["float32", "float64", "autocast", "channels_last", "fused"])
def test_models_train_the_same(
    name: str, kind: str, build: Helper, grown: Helper, assert_same: Helper, kept_bytes: Helper
) -> None:
    model = build(name, "auto" if kind == "fused" else "torch")
    x = torch.poisson(torch.full((3, 2, *model.input_shape), 0.5))
    if kind == "float64":
        model, x = model.double(), x.double()
    if kind == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    packed = pack_spikes(copy.deepcopy(model), check=True)
    with autocast(kind == "autocast"):
        plain_bytes = kept_bytes(lambda: model(x), model)
        packed_bytes = kept_bytes(lambda: packed(x), packed)
        assert_same(grown(x, packed), grown(x, model))
    assert packed_bytes < plain_bytes


def test_all_but_the_first_layer_of_sdt_are_packed_and_the_sums_of_spikformer_as_bytes(
    build: Helper,
) -> None:
    sdt = pack_spikes(build("sdt"))
    layers = [n for n, m in sdt.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert packed_layers(sdt) == dict.fromkeys(set(layers) - {"stem.stages.0.0"}, 1)
    spikformer = packed_layers(pack_spikes(build("spikformer")))
    assert spikformer["blocks.0.attention.q.0.0"] == 2  # spikes of the stem and of its position
    assert spikformer["blocks.0.mlp.0.0"] == 3
    assert spikformer["blocks.0.mlp.2.0"] == 1
    assert "head.0" not in spikformer  # a mean over tokens


class Custom(nn.Module):
    """A forward of its own: spikes masked, joined, summed, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = LIF(), LIF()
        names = ("masked", "joined", "inverted", "counted", "averaged", "real")
        self.maps = nn.ModuleDict({name: nn.Linear(8, 2) for name in names})
        self.maps["joined"] = nn.Linear(16, 2)
        self.unused = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(2 * x)
        inputs = {
            "masked": a * b,
            "joined": torch.cat([a, b], -1),
            "inverted": (1.0 - a) * b,
            "counted": a + b,
            "averaged": (a + b) / 2,
            "real": x,
        }
        return sum(self.maps[name](value) for name, value in inputs.items())


def test_a_users_forward_is_followed(grown: Helper, assert_same: Helper) -> None:
    x = torch.rand(4, 3, 8) * 2
    model = Custom()
    expected = grown(x, copy.deepcopy(model))
    packed = pack_spikes(model, x, check=True)
    counts = {"masked": 1, "joined": 1, "inverted": 1, "counted": 2}
    assert packed_layers(packed) == {f"maps.{name}": largest for name, largest in counts.items()}
    assert_same(grown(x, packed), expected)


def test_dropout_makes_spikes_real() -> None:
    model = nn.Sequential(LIF(), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    assert packed_layers(pack_spikes(model, torch.zeros(3, 2, 4))) == {}
    assert not model.training


def test_a_layer_used_twice_is_packed_for_the_larger() -> None:
    class Twice(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.neuron, self.map, self.scale = LIF(), nn.Linear(4, 4), scale

        def forward(self, x: Tensor) -> Tensor:
            s = self.neuron(x)
            return self.map(s) + self.map((s + s) * self.scale)

    x = torch.rand(3, 2, 4)
    assert packed_layers(pack_spikes(Twice(1), x)) == {"map": 2}
    assert packed_layers(pack_spikes(Twice(0.5), x)) == {}


def test_output_of_masking_attention_is_spikes() -> None:
    class Attention(nn.Module):
        def __init__(self, gate: nn.Module) -> None:
            super().__init__()
            self.neuron, self.product, self.map = LIF(), SDSA(gate), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            s = self.neuron(x)
            return self.map(self.product(s, s, s))

    x = torch.rand(3, 2, 1, 5, 8)
    assert packed_layers(pack_spikes(Attention(LIF()), x)) == {"map": 1}
    assert packed_layers(pack_spikes(Attention(ILIF(levels=3)), x)) == {"map": 3}


def test_nothing_else_about_the_model_changes(build: Helper) -> None:
    model = build("spiking_vgg")
    model.features[0].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    plain = copy.deepcopy(model)
    pack_spikes(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model.load_state_dict(plain.state_dict())
    assert "PackedConv2d(" in repr(model)
    unpack_spikes(model)
    assert repr(model) == repr(plain)
    assert not packed_layers(model)


def test_packing_twice_is_packing_once(build: Helper) -> None:
    model = pack_spikes(pack_spikes(build("sdt")))
    assert packed_layers(model) == packed_layers(pack_spikes(build("sdt")))
    skipped = pack_spikes(model, skip=["head.0"])
    assert "head.0" not in packed_layers(skipped)


def test_what_cannot_be_packed_is_said(build: Helper) -> None:
    with pytest.raises(UserError, match=r"Linear does not say what it takes; give an example"):
        pack_spikes(nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"no layer 'haed\.0' to skip; did you mean 'head\.0'"):
        pack_spikes(build("sdt"), skip=["haed.0"])


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("name", ["spikformer", "sdt"])
def test_device_memory_and_gradients(name: str, amp: bool, build: Helper) -> None:
    model = build(name, "auto").cuda().to(memory_format=torch.channels_last)
    packed = pack_spikes(copy.deepcopy(model))
    x = torch.poisson(torch.full((3, 16, *model.input_shape), 0.5)).cuda()

    def step(trained: nn.Module) -> tuple[int, list[Tensor]]:
        trained.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.autocast("cuda", torch.bfloat16, enabled=amp):
            y = trained(x)
        kept = torch.cuda.memory_allocated() - before
        y.float().square().sum().backward()
        return kept, [y, *(p.grad for p in trained.parameters())]

    for trained in (model, packed):
        step(trained)  # compiles
    (plain_kept, expected), (packed_kept, got) = step(model), step(packed)
    assert packed_kept < 0.95 * plain_kept
    assert torch.equal(got[0], expected[0])
    for a, b in zip(got[1:], expected[1:], strict=True):
        # cuDNN may sum in another order from one call to the next.
        torch.testing.assert_close(
            a, b, rtol=2e-2 if amp else 1e-3, atol=float(1e-3 * b.abs().max())
        )
