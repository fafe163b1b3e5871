"""Pooling as part of the neuron's call: the same values, and no gradient of full size beside it."""

import pytest
import torch
from torch import nn

from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import PLIF
from spikesim.pool import AfterNeuron, MaxPool2d


def stage() -> SpikingSequential:
    maps = TimeDistributed(nn.Conv2d(2, 8, 3, padding=1, bias=False), BatchNorm(8))
    return SpikingSequential(maps, PLIF(v_threshold=0.5), TimeDistributed(MaxPool2d(3, 2, 1)))


@pytest.mark.parametrize("last", [False, True])
def test_pooling_in_the_call_equals_pooling_after_it(
    monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    layers, x = stage(), torch.randn(5, 2, 2, 9, 12)
    if last:
        layers = layers.to(memory_format=torch.channels_last)
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    expected = layers(x)
    g = torch.randn_like(expected)
    expected.backward(g)
    gradients = [p.grad.clone() for p in layers.parameters()]
    layers.zero_grad()
    called = []
    backward = AfterNeuron.backward
    monkeypatch.setattr(AfterNeuron, "backward", lambda *a: called.append(True) or backward(*a))
    monkeypatch.setattr("spikesim.layers.POOLING_BACKENDS", ("numba",))
    got = layers(x)
    got.backward(g)
    assert called
    assert torch.equal(got, expected)
    for p, gradient in zip(layers.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_the_device_memory_is_two_maps(dtype: torch.dtype) -> None:
    layers = SpikingSequential(*stage()[1:]).cuda()
    layers = SpikingSequential(TimeDistributed(BatchNorm(64)), *layers).cuda()
    x = torch.randn(8, 16, 64, 64, 64, device="cuda", dtype=dtype, requires_grad=True)
    for _ in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        y = layers(x)
        y.backward(torch.ones_like(y))
        extra = torch.cuda.max_memory_allocated() - before
        x.grad = None
        del y
    # Forward: spikes and pooled spikes. Backward: one gradient of full size, and pooled ones.
    assert extra <= 1.8 * x.nbytes
