"""Networks whose sums are exact, so that no rounding depends on who else is in the batch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from spikesim.backend import set_backend
from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.models import create
from spikesim.neurons import ALIF, IF, LIF
from spikesim.recurrent import Recurrent


def rounded(model: nn.Module) -> nn.Module:
    """Weights as multiples of 1/32."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight * 32).round() / 32)
    return model.eval()


def convolutions() -> nn.Module:
    # A norm whose numbers are powers of two, which the neuron behind it takes over.
    norm = BatchNorm(4, eps=0.0)
    norm.running_mean.copy_(torch.tensor([0.0, 0.25, -0.25, 0.5]))  # type: ignore[union-attr]
    norm.running_var.fill_(0.0625)  # type: ignore[union-attr]
    first = TimeDistributed(nn.Conv2d(2, 4, 3, 2, 1, bias=False), norm)
    head = TimeDistributed(nn.Flatten(), nn.Linear(4 * 9, 5))
    return SpikingSequential(first, LIF(4.0, 0.5, decay_input=False), head)


def recurrent() -> nn.Module:
    first, head = nn.Linear(72, 12), nn.Linear(12, 5)
    for module in (first, head):
        nn.init.normal_(module.weight, std=0.5)
    layer = Recurrent(ALIF(8.0, 16.0, normalize=False, refractory=1.0), nn.Linear(12, 12))
    model = nn.Sequential(TimeDistributed(nn.Flatten(), first), layer, head)
    set_backend(model, "torch")
    return model


def perceptron() -> nn.Module:
    maps = (nn.Flatten(), nn.Linear(72, 16))
    return nn.Sequential(TimeDistributed(*maps), IF(v_reset=None), nn.Linear(16, 5))


def vgg() -> nn.Module:
    sizes = {"layers": "8-M-8-fc16"}
    model = create("spiking_vgg", num_classes=5, steps=7, image_size=(6, 6), **sizes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.5)
    set_backend(model, "torch")
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "batch norm": convolutions,
    "recurrent": recurrent,
    "made for 7 steps": vgg,
}


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> nn.Module:
    """``[T, B, 2, 6, 6]`` -> ``[T, B, 5]``."""
    return rounded(NETWORKS[request.param]())


@pytest.fixture
def events() -> Tensor:
    """Input of 7 steps and 23 samples, some much weaker than others."""
    strength = torch.linspace(0.05, 1.0, 23).view(1, 23, 1, 1, 1)
    return (torch.rand(7, 23, 2, 6, 6) < strength).float()
