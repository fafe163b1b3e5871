"""Sums over tokens of a product that is never stored: torch's, and the CUDA text on the host."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from host_cuda import HostModule
from torch import Tensor

from spikesim.kernels import sdsa

HALVES = (torch.float16, torch.bfloat16)
DTYPES = (torch.float32, torch.float64, *HALVES)
# (B, h, N, d): odd sizes, sizes of whole runs, one token, one channel, more tokens than threads
SHAPES = [
    (2, 2, 5, 3),
    (1, 2, 16, 8),
    (2, 1, 1, 16),
    (2, 3, 64, 1),
    (1, 1, 150, 24),
    (3, 2, 264, 8),
]
LAYOUTS = ("planes", "channels_last", "tokens")
GUARD = 64


def spread(shape: tuple[int, int, int, int], layout: str, kind: str, dtype: torch.dtype) -> Tensor:
    """``[3, B, h, N, d]``, as it comes from a map in memory."""
    b, h, n, d = shape
    values = torch.rand(3, b, h, n, d) < 0.5 if kind == "spikes" else torch.randn(3, b, h, n, d)
    x = values.to(dtype)
    if layout == "planes":
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "channels_last":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    return x.contiguous()


def expected(first: Tensor, second: Tensor) -> Tensor:
    return (first.double() * second.double()).sum(-2, keepdim=True)


def near(sums: Tensor, exact: Tensor) -> None:
    """Sums of float32 products, in any order."""
    step = 1e-13 if sums.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(
        sums.double(), exact, rtol=step, atol=step * float(exact.abs().max())
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_sums_are_exact_for_spikes(dtype: torch.dtype) -> None:
    for shape, layout in product(SHAPES, LAYOUTS):
        k, v = (spread(shape, layout, "spikes", dtype) for _ in range(2))
        sums = sdsa.token_sums(k, v)
        assert sums.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert torch.equal(sums.double(), expected(k, v))
        grad = spread(shape, layout, "real", dtype)
        gate = (torch.rand(sums.shape) < 0.5).to(sums.dtype)
        sums, masked = sdsa.token_sums_and_mask(grad, k, gate)
        near(sums, expected(grad, k))
        assert torch.equal(masked, grad * gate.to(dtype))


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 2, 0, 4)])
def test_nothing_sums_to_zero(shape: tuple[int, int, int, int]) -> None:
    k = torch.ones(3, *shape)
    assert torch.equal(sdsa.token_sums(k, k), torch.zeros(3, *shape[:2], 1, shape[3]))


def poisoned(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """NaN to be written, in the middle of NaN that must stay, and all of it."""
    whole = torch.full((int(np.prod(shape)) + 2 * GUARD,), float("nan"), dtype=dtype)
    return whole[GUARD : whole.numel() - GUARD].view(shape), whole


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("masks", [False, True])
def test_cuda_text_on_the_host(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, masks: bool
) -> None:
    launched = set()

    def module(*what: Any) -> Any:
        launched.add(what[1])  # values a thread
        return HostModule(sdsa.cuda_text(*what))

    monkeypatch.setattr(sdsa, "_module", module)
    for shape, layout in product([SHAPES[0], SHAPES[1], SHAPES[4]], LAYOUTS):
        kind = "real" if masks else "spikes"
        first, second = spread(shape, layout, kind, dtype), spread(shape, layout, "spikes", dtype)
        if shape[2] == 5:  # a cotangent may lie in another way
            first = first.contiguous()
        sums_shape = (*first.shape[:-2], 1, first.shape[-1])
        sums, whole = poisoned(sums_shape, sdsa_real(dtype))
        gate = (torch.rand(sums_shape) < 0.5).to(sums.dtype) if masks else None
        masked = sdsa._launch(first, second, gate, sums)
        near(sums, expected(first, second))
        if not masks:
            assert torch.equal(sums.double(), expected(first, second))
        assert whole[:GUARD].isnan().all()
        assert whole[-GUARD:].isnan().all()
        assert (masked is None) is (gate is None)
        if masked is not None and gate is not None:
            assert torch.equal(masked, first * gate.to(dtype))
            if layout != "tokens":
                strides = zip(masked.shape, masked.stride(), second.stride(), strict=True)
                assert all(ours == theirs for size, ours, theirs in strides if size > 1)
    assert len(launched) == 2  # one value a thread, and 16 bytes


def sdsa_real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_the_device(dtype: torch.dtype) -> None:
    for shape, layout in product([*SHAPES, (16, 8, 256, 32)], LAYOUTS):
        k, v = (spread(shape, layout, "spikes", dtype).cuda() for _ in range(2))
        sums = sdsa.token_sums(k, v)
        assert torch.equal(sums.double(), expected(k, v))
        grad = spread(shape, layout, "real", dtype).cuda()
        gate = (torch.rand(sums.shape, device="cuda") < 0.5).to(sums.dtype)
        of_gate, masked = sdsa.token_sums_and_mask(grad, v, gate)
        near(of_gate, expected(grad, v))
        assert torch.equal(masked, grad * gate.to(dtype))


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["planes", "channels_last"])
def test_device_stores_no_product(layout: str) -> None:
    k, v = (spread((16, 8, 256, 32), layout, "spikes", torch.float32).cuda() for _ in range(2))
    sdsa.token_sums(k, v)  # compiles
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    sdsa.token_sums(k, v)
    assert torch.cuda.max_memory_allocated() - before <= k.nbytes / 256 + 2**20
