"""Maps that are made again in the backward pass instead of being kept."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from spikesim.conv import FewChannelConv2d
from spikesim.forgotten import making_again
from spikesim.layers import SpikingSequential, conv_bn_neuron
from spikesim.memory import pack_spikes, unpack_spikes
from spikesim.neurons import LIF


class Watched(FewChannelConv2d):
    """Notes the memory of what it gives."""

    made: list[StorageWeakRef]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out = super()._conv_forward(input, weight, bias)
        self.made.append(StorageWeakRef(out.untyped_storage()))
        return out


def model() -> SpikingSequential:
    torch.manual_seed(0)
    layers = conv_bn_neuron(2, 8, 3, LIF(v_threshold=0.3), bias=True)
    layers.extend(conv_bn_neuron(8, 4, 3, LIF(v_threshold=0.3)))
    conv = layers[0][0]
    conv.__class__, conv.made = Watched, []
    return layers


def example(seed: int) -> Tensor:
    """``[T, B, C, H, W]``."""
    return torch.randn(5, 3, 2, 6, 7, generator=torch.manual_seed(seed))


def gradients(layers: nn.Module, x: Tensor, *, amp: bool = False, again: bool = False) -> list[Any]:
    """Output, and gradients of all parameters and of the input."""
    layers.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        y = checkpoint(layers, x, use_reentrant=False) if again else layers(x)
    assert y.sum() > 0
    (y.float() * torch.randn(y.shape, generator=torch.manual_seed(9))).sum().backward()
    return [y, x.grad, *(p.grad for p in layers.parameters()), *layers.buffers()]


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_gradients_and_statistics_are_the_same(backend: str, amp: bool, again: bool) -> None:
    kept = model()
    for module in kept.modules():
        if isinstance(module, LIF):
            module.backend = backend  # type: ignore[assignment]
    forgotten = pack_spikes(copy.deepcopy(kept), example(0))
    for seed in range(2):
        expected = gradients(kept, example(seed), amp=amp, again=again)
        got = gradients(forgotten, example(seed), amp=amp, again=again)
        for mine, other in zip(got, expected, strict=True):
            assert torch.equal(mine, other)


def test_the_map_is_gone_between_forward_and_backward() -> None:
    layers = model()
    conv = layers[0][0]
    y = layers(example(0))
    assert not conv.made[0].expired()  # what nobody asked to forget is kept
    del y
    pack_spikes(layers, example(0))
    assert "made again" in repr(layers)
    conv.made.clear()
    y = layers(example(0))
    assert [found.expired() for found in conv.made] == [True]
    y.sum().backward()
    assert len(conv.made) > 1
    unpack_spikes(layers)
    assert "made again" not in repr(layers)
    conv.made.clear()
    layers(example(0)).sum().backward()
    assert len(conv.made) == 1


def test_only_the_map_itself_is_made_again() -> None:
    source = torch.arange(6.0)
    made = 2 * source
    calls = []

    def make(x: Tensor) -> Tensor:
        calls.append(torch.is_grad_enabled())
        return 2 * x

    other = torch.ones(6, requires_grad=True)
    with making_again(made, make, source):
        y = (made.view(2, 3).t() * other.view(3, 2) * other.view(3, 2).exp()).sum()
    y.backward()
    expected = (made.view(2, 3).t() * 2 * torch.e).reshape(-1)
    torch.testing.assert_close(other.grad, expected)
    assert calls == [False]
