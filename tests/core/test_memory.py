"""Packed spikes: the same outputs and gradients, bit for bit, from a fraction of the memory."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from spikesim import models, packed
from spikesim.attention import SDSA, SSA
from spikesim.errors import UserError
from spikesim.kernels import bits
from spikesim.layers import TimeDistributed
from spikesim.memory import pack_spikes, packed_layers, unpack_spikes
from spikesim.neuron import Neuron
from spikesim.neurons import ILIF, LIF

MODELS = ("sdt", "spikformer", "spiking_vgg", "sew_resnet")


def build(name: str, backend: str = "torch") -> models.SpikingModel:
    """A small model; neurons in torch, as compiling their kernels takes longer than all of this."""
    sizes = {"num_classes": 3, "steps": 3, "image_size": (17, 16), "threshold": 0.3}
    model = models.create(name, preset="tiny", **sizes).train()
    for module in model.modules():
        if isinstance(module, Neuron):
            module.backend = backend
    return model


def grown(x: Tensor, model: nn.Module) -> list[Tensor]:
    """Output, running statistics and all gradients of one training step."""
    x = x.detach().clone().requires_grad_()
    model.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    y = model(x)
    y.float().square().sum().backward()
    return [y, x.grad, *(p.grad for p in model.parameters()), *model.buffers()]


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(a, b)


def kept_bytes(run: Callable[[], Tensor], model: nn.Module) -> int:
    """Memory that the graph of ``run()`` keeps beside the parameters."""
    of_parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages = {}

    def keep(x: Tensor) -> Tensor:
        storages[x.untyped_storage().data_ptr()] = (x, x.untyped_storage().nbytes())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        run()
    return sum(size for at, (_, size) in storages.items() if at not in of_parameters)


def autocast(amp: bool) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if amp else nullcontext()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["float32", "float64", "autocast", "channels_last", "fused"])
def test_models_train_the_same(name: str, kind: str) -> None:
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


def test_all_but_the_first_layer_of_sdt_are_packed_and_the_sums_of_spikformer_as_bytes() -> None:
    sdt = pack_spikes(build("sdt"))
    layers = [n for n, m in sdt.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert packed_layers(sdt) == dict.fromkeys(set(layers) - {"stem.stages.0.0"}, 1)
    spikformer = packed_layers(pack_spikes(build("spikformer")))
    assert spikformer["blocks.0.attention.q.0.0"] == 2  # spikes of the stem and of its position
    assert spikformer["blocks.0.mlp.0.0"] == 3
    assert spikformer["blocks.0.mlp.2.0"] == 1
    assert "head.0" not in spikformer  # a mean over tokens


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


class Fire(nn.Module):
    """Spikes of any shape, with a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).to(x) * 1.0 if not x.requires_grad else _Fire.apply(x)


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_layers_have_the_gradients_of_torch(name: str, dtype: torch.dtype) -> None:
    layer, shape = CONVOLUTIONS[name]
    plain = nn.Sequential(Fire(), copy.deepcopy(layer)).to(dtype)
    packed = pack_spikes(copy.deepcopy(plain), torch.zeros(shape, dtype=dtype), check=True)
    assert packed_layers(packed) == {"1": 1}
    x = torch.randn(shape).to(dtype)
    assert_same(grown(x, packed), grown(x, plain))
    transposed = x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.dim() > 1 else x
    assert_same(grown(transposed, packed), grown(transposed, plain))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_padding_that_is_no_zeros_is_left_alone() -> None:
    circular = nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular")
    one_sided = nn.Conv1d(2, 2, 2, padding="same")
    model = nn.Sequential(Fire(), circular, Fire(), nn.Conv1d(2, 2, 4), Fire(), one_sided)
    assert packed_layers(pack_spikes(model, torch.zeros(2, 2, 9))) == {"3": 1}


def test_input_is_kept_as_one_bit_a_value() -> None:
    model = pack_spikes(nn.Sequential(Fire(), nn.Conv2d(8, 8, 3)), torch.zeros(1, 8, 8, 8))
    spikes = (torch.rand(4, 8, 32, 32) < 0.2).float()
    assert kept_bytes(lambda: model[1](spikes), model) * 32 == spikes.nbytes


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.neuron, self.product = Fire(), SSA(0.25)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        return self.product(spikes, spikes.roll(1, 0), spikes.roll(2, 0))


def test_attention_keeps_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Attention()
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


@pytest.mark.parametrize(("neuron", "share"), [(Fire(), 32), (ILIF(levels=4), 4)])
def test_maps_of_the_same_spikes_keep_them_once(
    neuron: nn.Module, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_spikes_that_were_packed_last_are_not_held() -> None:
    from spikesim import packed as layers

    model = pack_spikes(nn.Sequential(Fire(), nn.Linear(4, 4)), torch.zeros(2, 4))
    model(torch.randn(2, 4, requires_grad=True)).sum().backward()
    assert layers._latest._entry is None


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


def test_a_users_forward_is_followed() -> None:
    x = torch.rand(4, 3, 8) * 2
    model = Custom()
    expected = grown_without_missing(x, copy.deepcopy(model))
    packed = pack_spikes(model, x, check=True)
    counts = {"masked": 1, "joined": 1, "inverted": 1, "counted": 2}
    assert packed_layers(packed) == {f"maps.{name}": largest for name, largest in counts.items()}
    assert_same(grown_without_missing(x, packed), expected)


def grown_without_missing(x: Tensor, model: nn.Module) -> list[Tensor]:
    return [a for a in grown(x, model) if a is not None]


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


def test_nothing_else_about_the_model_changes() -> None:
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


def test_packing_twice_is_packing_once() -> None:
    model = pack_spikes(pack_spikes(build("sdt")))
    assert packed_layers(model) == packed_layers(pack_spikes(build("sdt")))
    skipped = pack_spikes(model, skip=["head.0"])
    assert "head.0" not in packed_layers(skipped)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(reentrant: bool) -> None:
    plain = nn.Sequential(Fire(), nn.Conv2d(3, 4, 3), Fire(), nn.Conv2d(4, 2, 3))
    x = torch.randn(2, 3, 9, 8)
    packed = pack_spikes(copy.deepcopy(plain), x)
    again = nn.Sequential(_Checkpointed(packed, reentrant))
    assert_same(grown(x, again), grown(x, plain))
    if not reentrant:
        # Only its input, which is not the region's own.
        assert kept_bytes(lambda: again(x.requires_grad_()), again) <= x.nbytes + 2**14


class _Checkpointed(nn.Module):
    def __init__(self, inside: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.inside, self.reentrant = inside, reentrant

    def forward(self, x: Tensor) -> Tensor:
        out = checkpoint(self.inside, x, use_reentrant=self.reentrant)
        assert isinstance(out, Tensor)
        return out


@pytest.fixture
def one_process(tmp_path: object) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_distributed_training(one_process: None) -> None:
    plain = build("spiking_vgg")
    x = torch.poisson(torch.full((3, 2, *plain.input_shape), 0.5))
    packed = DistributedDataParallel(pack_spikes(copy.deepcopy(plain)))
    assert_same(grown(x, packed), grown(x, plain))


def test_compiled_model_keeps_bits() -> None:
    torch._dynamo.reset()
    plain = nn.Sequential(Fire(), nn.Conv2d(3, 8, 3, padding=1), Fire(), nn.Conv2d(8, 4, 3))
    x = torch.randn(2, 3, 20, 20)
    packed = pack_spikes(copy.deepcopy(plain), x)
    # aot_eager: Dynamo and AOTAutograd decide what is kept; Inductor would only take longer.
    run = torch.compile(packed, fullgraph=True, backend="aot_eager")
    expected = grown(x, plain)
    got = grown(x, _Called(run, packed))
    assert_same(got[:2], expected[:2])
    x.requires_grad_()
    kept = kept_bytes(lambda: run(x), packed)
    assert kept <= (x.nbytes + 2 * 8 * 20 * 20 * 4) / 32 + 1024


class _Called(nn.Module):
    def __init__(self, run: Callable[[Tensor], Tensor], model: nn.Module) -> None:
        super().__init__()
        self.run, self.model = run, model

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def test_frozen_weights_keep_nothing() -> None:
    model = pack_spikes(nn.Sequential(Fire(), nn.Linear(64, 64)), torch.zeros(8, 64))
    model[1].weight.requires_grad_(False)
    spikes = torch.ones(8, 64, requires_grad=True)
    assert kept_bytes(lambda: model[1](spikes), model) == 0


def test_second_derivative_is_refused() -> None:
    model = pack_spikes(nn.Sequential(Fire(), nn.Linear(4, 2)), torch.zeros(3, 4))
    x = torch.ones(3, 4, requires_grad=True)
    (of_x,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        of_x.sum().backward()


@pytest.mark.parametrize(("neuron", "wish"), [(Fire(), "0 or 1"), (ILIF(levels=3), "0 to 3")])
def test_check_names_the_layer_whose_input_is_not_spikes(neuron: nn.Module, wish: str) -> None:
    layers = nn.Sequential(neuron, nn.Linear(4, 2))
    model = nn.Sequential(layers)
    pack_spikes(model, torch.zeros(3, 2, 4), check=True)
    layers[1](torch.ones(3, 4))
    for wrong in (0.5, -1.0, 5.0, float("nan")):
        with pytest.raises(UserError, match=rf"'0\.1' is not .*{wish}"):
            layers[1](torch.full((3, 4), wrong))


def test_what_cannot_be_packed_is_said() -> None:
    with pytest.raises(UserError, match=r"Linear does not say what it takes; give an example"):
        pack_spikes(nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"no layer 'haed\.0' to skip; did you mean 'head\.0'"):
        pack_spikes(build("sdt"), skip=["haed.0"])


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("name", ["spikformer", "sdt"])
def test_device_memory_and_gradients(name: str, amp: bool) -> None:
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
