"""Spiking VGG and SEW-ResNet."""

import pytest
import torch
from torch import Tensor, nn

from spikesim import models
from spikesim.models.sew_resnet import SEWBlock, SEWResNetSizes
from spikesim.neuron import Neuron
from spikesim.pool import MaxPool2d


def events(*shape: int) -> Tensor:
    return torch.poisson(torch.full(shape, 1.0))


def test_vgg_layers_follow_the_string() -> None:
    model = models.create(
        "spiking_vgg", num_classes=5, steps=2, image_size=(9, 12), layers="4-M-6-6-A-fc7-fc8"
    )
    maps = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [tuple(m.weight.shape[:2]) for m in maps] == [
        (4, 2), (6, 4), (6, 6), (7, 6 * 2 * 3), (8, 7), (5, 8),
    ]  # fmt: skip
    pools = [type(m) for m in model.modules() if isinstance(m, nn.MaxPool2d | nn.AvgPool2d)]
    assert pools == [MaxPool2d, nn.AvgPool2d]
    assert sum(isinstance(m, Neuron) for m in model.modules()) == 5


def test_vgg_with_maxima_sees_spikes_only() -> None:
    model = models.create(
        "spiking_vgg", num_classes=5, steps=4, image_size=12, layers="8-M-8-M-fc16", threshold=0.5
    )
    assert len(models.assert_binary(model, events(4, 3, 2, 12, 12))) == 3
    averaged = models.create(
        "spiking_vgg", num_classes=5, steps=4, image_size=12, layers="8-A-8", threshold=0.5
    )
    with pytest.raises(AssertionError, match=r"features\.3\.0"):
        models.assert_binary(averaged, events(4, 3, 2, 12, 12))


@pytest.mark.parametrize("connect", ["and", "iand"])
def test_sew_with_logic_sees_spikes_only(connect: str) -> None:
    model = models.create(
        "sew_resnet", num_classes=3, steps=4, image_size=16, blocks="2-2", width=8,
        connect=connect, small_stem=True, threshold=0.5,
    )  # fmt: skip
    # The head sees the mean over the map, so it stands apart.
    with models.binary_inputs(model) as seen:
        model(events(4, 3, 2, 16, 16))
    assert [name for name, binary in seen.items() if not binary] == ["stem.0.0", "head.0"]


@pytest.mark.parametrize(
    ("connect", "passed"), [("add", [0.0, 1.0]), ("and", [0.0, 0.0]), ("iand", [0.0, 1.0])]
)
def test_silent_block_passes_its_input_on(connect: str, passed: list[float]) -> None:
    # Fang et al. (2021), section 3.3: ADD and IAND are the identity where the block is silent.
    block = SEWBlock(4, 4, 1, SEWResNetSizes(connect=connect)).eval()
    for value, expected in zip((0.0, 1.0), passed, strict=True):
        with torch.no_grad():
            for module in block.modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.zero_()
        x = torch.full((3, 1, 4, 5, 5), value)
        assert torch.equal(block(x), torch.full_like(x, expected))


@pytest.mark.parametrize(("connect", "joined"), [("add", 2.0), ("and", 1.0), ("iand", 0.0)])
def test_firing_block_joins_as_published(connect: str, joined: float) -> None:
    block = SEWBlock(4, 4, 1, SEWResNetSizes(connect=connect)).eval()
    with torch.no_grad():
        for module in block.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.fill_(10.0)
    x = torch.ones(3, 1, 4, 5, 5)
    assert torch.equal(block(x), torch.full_like(x, joined))


@pytest.mark.parametrize("name", ["spiking_vgg", "sew_resnet"])
def test_gradient_reaches_every_parameter(name: str) -> None:
    model = models.create(name, preset="tiny", num_classes=4, steps=5, threshold=0.5)
    out = model(events(5, 4, 2, 34, 34))
    nn.functional.cross_entropy(out.mean(0), torch.arange(4)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 1e-6, key
