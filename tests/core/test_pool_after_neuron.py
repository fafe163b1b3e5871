"""Pooling as part of the neuron's call: the same values, and no gradient of full size beside it."""

import pytest
import torch
from torch import nn

from spikesim.batch_norm import BatchNorm
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import LIF, PLIF
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


def channels_last(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, device="cuda", dtype=dtype).movedim(-1, 2).requires_grad_()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_on_the_device_bits_give_the_values_of_torch(dtype: torch.dtype) -> None:
    maps = TimeDistributed(nn.Conv2d(16, 64, 3, padding=1, bias=False), BatchNorm(64))
    pool = TimeDistributed(MaxPool2d(3, 2, 1))
    fused = SpikingSequential(maps, LIF(v_threshold=0.5), pool)
    fused.to("cuda", memory_format=torch.channels_last)
    maps[0].to(dtype)
    apart = [*fused[:2], TimeDistributed(nn.MaxPool2d(3, 2, 1))]
    x = channels_last(5, 4, 33, 24, 16, dtype=dtype)
    found = []
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        g = None
        for layers in (SpikingSequential(*apart), fused):
            y = layers(x)
            g = torch.randn_like(y) if g is None else g
            gradients = torch.autograd.grad(y, [x, *fused.parameters()], g)
            found.append((y, *gradients))
    assert 0.05 < found[0][0].float().mean() < 0.95
    assert torch.equal(found[1][0], found[0][0])
    # Up to four gradients a value are added in another order, and rounded once, not each time.
    step = {torch.float16: 1e-2, torch.bfloat16: 5e-2}.get(dtype, 1e-5)
    for got, expected in zip(found[1][1:], found[0][1:], strict=True):
        assert (got - expected).abs().max() <= step * expected.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_the_device_forward_writes_no_map(dtype: torch.dtype) -> None:
    layers = SpikingSequential(TimeDistributed(BatchNorm(64)), *stage()[1:]).cuda()
    x = channels_last(8, 8, 64, 48, 64, dtype=dtype)
    for _ in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        y = layers(x)
        extra = torch.cuda.max_memory_allocated() - before
        del y
    # Pooled spikes a quarter, bits and winners a sixteenth each at most, rows and sums of channels.
    assert extra <= 0.45 * x.nbytes + 2**20
