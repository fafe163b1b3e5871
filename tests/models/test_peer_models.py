"""The same networks in SpikingJelly, with our weights: equal class values."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from spikesim import models

pytestmark = pytest.mark.peers
WHY = "needs SpikingJelly 2.0: pip install spikesim[peers]"
sj = pytest.importorskip("spikingjelly.activation_based", reason=WHY)

LAYERS = (nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear)


def maps_and_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, LAYERS)]


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Weights, statistics and affine maps away from their defaults, so that an exchange shows."""
    for module in maps_and_norms(model):
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.8, 2.5)
            module.bias.uniform_(-0.2, 0.8)
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        else:
            fan_in = module.weight[0].numel()
            module.weight.normal_(std=2 * fan_in**-0.5)
            if module.bias is not None:
                module.bias.normal_(std=0.1)


@torch.no_grad()
def copy_weights(ours: list[nn.Module], theirs: list[nn.Module]) -> None:
    """Layer by layer in order; a bias that only the peer has becomes 0."""
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        state = mine.state_dict()
        if "bias" in other.state_dict() and "bias" not in state:
            state["bias"] = torch.zeros_like(other.bias)
        other.load_state_dict({k: v.reshape(other.state_dict()[k].shape) for k, v in state.items()})


def compare(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 1e-3, "a dead network proves nothing"
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pooling", ["0011", "1111"])
def test_sdt_equals_spikingjelly(pooling: str) -> None:
    name = "spikingjelly.activation_based.model.spike_driven_transformer"
    peers = pytest.importorskip(name, reason=WHY)
    settings = {"num_classes": 5, "pooling": pooling, "depth": 2, "dim": 32, "heads": 4}
    ours = models.create("sdt", steps=4, image_size=16, **settings)
    theirs = peers.SpikeDrivenTransformer(
        T=4, in_channels=2, num_classes=5, embed_dims=32, num_heads=4, depths=2,
        pooling_stat=pooling,
    )  # fmt: skip
    randomise(ours)
    copy_weights(maps_and_norms(ours), maps_and_norms(theirs))
    ours.double().eval(), theirs.double().eval()
    x = torch.poisson(torch.full((4, 3, 2, 16, 16), 0.7)).double()
    compare(ours(x).mean(0), theirs(x))


def test_spikformer_equals_spikingjelly() -> None:
    """From the stem's spikes on: the peer's stem takes its maxima before the neuron."""
    peers = pytest.importorskip("spikingjelly.activation_based.model.spikformer", reason=WHY)
    sizes = {"num_classes": 5, "dim": 32, "depth": 2, "heads": 4, "pooling": "0011"}
    ours = models.create("spikformer", steps=4, image_size=16, scale=0.125, **sizes)
    theirs = peers.Spikformer(
        T=4, in_channels=2, img_size_h=16, img_size_w=16, patch_size=4, num_classes=5,
        embed_dims=32, num_heads=4, depths=2,
    )  # fmt: skip
    randomise(ours)
    for module in maps_and_norms(ours.blocks):
        if isinstance(module, nn.Conv2d):
            module.bias = None  # the peer has none
    theirs.patch_embed.stages = ours.stem
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (ours.position, theirs.patch_embed.positional_encoding),
        (ours.head, theirs.head),
    ]
    for mine, other in zip(ours.blocks, theirs.blocks, strict=True):
        pairs += [(mine.mlp, other.mlp), (mine.attention.project, other.attn.proj_conv_bn)]
        qkv = [maps_and_norms(getattr(mine.attention, name)) for name in "qkv"]
        joint = maps_and_norms(other.attn.qkv_conv_bn)
        for layer, three in zip(joint, zip(*qkv, strict=True), strict=True):
            parts = [module.state_dict() for module in three]
            for key, value in layer.state_dict().items():
                if value.dim():
                    value.copy_(torch.cat([part[key] for part in parts]).view_as(value))
    for mine, other in pairs:
        copy_weights(maps_and_norms(mine), maps_and_norms(other))
    ours.double().eval(), theirs.double().eval()
    x = torch.poisson(torch.full((4, 3, 2, 16, 16), 0.7)).double()
    compare(ours(x), theirs(x))


@pytest.mark.parametrize("connect", ["add", "and", "iand"])
def test_sew_resnet_equals_spikingjelly(connect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("torchvision") is None:
        # The peer asks torchvision for a download function alone, which torch has too.
        stand_in = ModuleType("torchvision._internally_replaced_utils")
        stand_in.load_state_dict_from_url = torch.hub.load_state_dict_from_url
        monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    peers = pytest.importorskip("spikingjelly.activation_based.model.sew_resnet", reason=WHY)
    ours = models.create(
        "sew_resnet", num_classes=5, steps=3, in_channels=3, image_size=32, connect=connect,
        neuron="if",
    )  # fmt: skip
    theirs = peers.sew_resnet18(
        cnf=connect.upper(), spiking_neuron=sj.neuron.IFNode, detach_reset=True, num_classes=5
    )
    sj.functional.set_step_mode(theirs, "m")
    randomise(ours)
    # The peer names a block's shortcut after its body, as here; its head comes last.
    copy_weights(maps_and_norms(ours), maps_and_norms(theirs))
    ours.double().eval(), theirs.double().eval()
    x = torch.randn(3, 2, 3, 32, 32).double()
    compare(ours(x), theirs(x))
