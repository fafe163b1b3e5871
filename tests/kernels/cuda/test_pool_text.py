"""The CUDA text of the pool, compiled for the host: values, winners and gradients of torch."""

import math
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from host_cuda import HostModule
from torch import Tensor, nn

from spikesim.batch_norm import BatchNorm
from spikesim.kernels import bits, pool
from spikesim.kernels.pool import Window
from spikesim.layers import SpikingSequential, TimeDistributed
from spikesim.neurons import ILIF, LIF
from spikesim.pool import AfterNeuron, MaxPool2d

PAIRS = Window((3, 3), (2, 2), (1, 1))
WINDOWS = [
    PAIRS,
    Window((2, 2), (2, 2), (0, 0)),
    Window((3, 3), (1, 1), (1, 1)),
    Window((3, 2), (2, 1), (1, 0)),
    Window((4, 4), (3, 3), (2, 2)),
    Window((2, 1), (3, 4), (1, 0)),
]
SIZES = [(1, 1), (5, 4), (8, 9), (16, 2)]
GUARD = 64
FILLING = {True: float("nan"), False: 99}


@pytest.fixture
def pooled_on_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CPU maps go through the CUDA text; all it writes lies in guarded memory of NaN or 99."""

    @cache
    def module(dtype: torch.dtype, run: int, window: Window) -> Any:
        return HostModule(pool.cuda_text(dtype, run, window))

    made: list[Tensor] = []
    empty = torch.empty

    def guarded(shape: tuple[int, ...], **how: object) -> Tensor:
        if "memory_format" not in how:
            return empty(shape, **how)
        like = empty(shape, **how)
        whole = torch.full((like.numel() + 2 * GUARD,), FILLING[like.is_floating_point()])
        made.append(whole.to(like.dtype))
        return made[-1].as_strided(like.shape, like.stride(), GUARD)

    def is_served(x: Tensor, shape: tuple[int, ...], window: Window) -> bool:
        return math.prod(shape) > 0

    monkeypatch.setattr(pool, "_module", module)
    monkeypatch.setattr(pool, "_is_served", is_served)
    monkeypatch.setattr(torch, "empty", guarded)
    yield
    assert made
    for whole in made:
        ends = torch.cat([whole[:GUARD], whole[-GUARD:]])
        assert (ends.isnan() if ends.is_floating_point() else ends == 99).all(), "wrote beyond"


def maps(kind: str, shape: tuple[int, ...], dtype: torch.dtype, *, last: bool) -> Tensor:
    x = torch.randn(shape)
    if kind == "special":
        x[torch.rand(shape) < 0.2] = float("nan")
        x[torch.rand(shape) < 0.3] = -float("inf")
    else:
        # Some windows without a spike, some full of them.
        x = (x > 2 * torch.rand(shape[0], 1, 1, 1)).float()
    x = x.to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def sizes_of(window: Window, *, last: bool) -> list[tuple[int, int]]:
    """Where there is a window; a single place lies the same in both layouts."""
    return [s for s in SIZES if min(window.pooled(*s)) > 0 and not (last and math.prod(s) == 1)]


def same(a: Tensor, b: Tensor) -> None:
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert torch.equal(a.isnan(), b.isnan())
    assert torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


@pytest.mark.usefixtures("pooled_on_host")
@pytest.mark.parametrize(
    ("dtype", "channels", "last", "window"),
    [
        (torch.float32, 3, False, WINDOWS[0]),
        (torch.float32, 8, True, WINDOWS[0]),
        (torch.bfloat16, 3, True, WINDOWS[2]),
        (torch.bfloat16, 16, True, WINDOWS[0]),
        (torch.float16, 8, True, WINDOWS[1]),
        (torch.float64, 6, True, WINDOWS[3]),
        (torch.float32, 4, True, WINDOWS[4]),
        (torch.bfloat16, 8, True, WINDOWS[5]),
    ],
)
def test_equal_to_torch(dtype: torch.dtype, channels: int, last: bool, window: Window) -> None:
    for kind, size in product(("spikes", "special"), sizes_of(window, last=last)):
        x = maps(kind, (2, channels, *size), dtype, last=last)
        y, winners = pool.pool_forward(x, window)
        expected, expected_winners = pool._forward_torch(x, window)
        same(y, expected)
        assert torch.equal(winners, expected_winners)
        lies = pool.memory_format(x)
        grad = torch.randn(y.shape).to(dtype).contiguous(memory_format=lies)
        of_x = pool.pool_backward(grad, winners, x.shape, lies, window)
        # Sums of up to four or nine in float32, rounded once; torch's CPU sums in the map's dtype.
        real = torch.float64 if dtype == torch.float64 else torch.float32
        summed = pool._backward_torch(grad.to(real), winners, x.shape, lies, window)
        assert torch.equal(of_x, summed.to(dtype))


@pytest.mark.usefixtures("pooled_on_host")
@pytest.mark.parametrize(
    ("dtype", "channels", "window"),
    [
        (torch.float32, 96, WINDOWS[0]),
        (torch.bfloat16, 64, WINDOWS[0]),
        (torch.float16, 32, WINDOWS[1]),
        (torch.float64, 64, WINDOWS[3]),
        (torch.float32, 32, WINDOWS[4]),
        (torch.bfloat16, 32, WINDOWS[5]),
    ],
)
def test_bits_give_what_spikes_give(dtype: torch.dtype, channels: int, window: Window) -> None:
    for size in sizes_of(window, last=True):
        x = maps("spikes", (3, channels, *size), dtype, last=True)
        assert pool.takes_bits(x, window)
        unread = torch.full_like(x, float("nan"))
        y, winners = pool.pool_bits_forward(bits.pack(x), unread, window)
        expected, expected_winners = pool._forward_torch(x, window)
        same(y, expected)
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(winners, expected_winners)


def stage(neuron: nn.Module) -> SpikingSequential:
    maps_of = TimeDistributed(nn.Conv2d(2, 32, 3, padding=1, bias=False), BatchNorm(32))
    layers = SpikingSequential(maps_of, neuron, TimeDistributed(MaxPool2d(3, 2, 1)))
    return layers.to(memory_format=torch.channels_last)


@pytest.mark.usefixtures("pooled_on_host")
@pytest.mark.parametrize(
    ("neuron", "handed_over"),
    [(LIF(v_threshold=0.4), torch.int32), (ILIF(v_threshold=1.0), torch.float32)],
)
def test_a_layer_hands_over_bits(
    monkeypatch: pytest.MonkeyPatch, neuron: nn.Module, handed_over: torch.dtype
) -> None:
    layers, x = stage(neuron), torch.randn(5, 2, 2, 9, 12)
    x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    expected = layers(x)
    assert 0.05 < (expected > 0).float().mean() < 0.95
    g = torch.randn_like(expected)
    expected.backward(g)
    gradients = [p.grad.clone() for p in layers.parameters()]
    layers.zero_grad()
    seen = []
    forward = AfterNeuron.forward

    def noted(self: AfterNeuron, output: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(output.dtype)
        return forward(self, output, like)

    monkeypatch.setattr(AfterNeuron, "forward", noted)
    monkeypatch.setattr("spikesim.layers.POOLING_BACKENDS", ("numba",))
    got = layers(x)
    got.backward(g)
    assert seen == [handed_over]
    assert torch.equal(got, expected)
    for p, gradient in zip(layers.parameters(), gradients, strict=True):
        # The convolution sums a gradient that lies otherwise in another order.
        torch.testing.assert_close(p.grad, gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("pooled_on_host")
@pytest.mark.parametrize(("channels", "last"), [(32, False), (48, True)])
def test_other_maps_are_not_taken_as_bits(channels: int, last: bool) -> None:
    x = maps("spikes", (2, channels, 4, 6), torch.float32, last=last)
    assert not pool.takes_bits(x, PAIRS)
    assert pool.pool_forward(x, PAIRS)[0].shape == (2, channels, 2, 3)
