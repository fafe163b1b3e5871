"""The kernel that counts what enters a layer: its CUDA text on the host, against the reference."""

import ctypes
import math
from itertools import product
from typing import Any

import pytest
import torch
from host_cuda import HostModule
from torch import Tensor

from spikesim.energy.tally import tally, tally_torch
from spikesim.kernels import tally as kernel

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DTYPES = (*FLOATS, torch.bool, torch.int8, torch.int64)
# (groups, rows, F): one value, odd sizes, whole loads, fan-outs that repeat within a load, one
# fan-out for all, and more loads than a thread takes at once.
SHAPES = [(1, 1, 1), (3, 5, 7), (2, 4, 64), (4, 16, 6), (2, 48, 1), (1, 600, 24), (2, 1, 4112)]
GUARD = 32
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1.5, 7.25, 100.0, 1e-7, 3e4, math.nan, math.inf)


def values(kind: str, size: int, dtype: torch.dtype) -> Tensor:
    if kind == "spikes":
        return (torch.rand(size) < 0.3).to(dtype)
    if kind == "special" and dtype.is_floating_point:
        choice = torch.tensor(SPECIAL, dtype=torch.float64)
        return choice[torch.randint(len(SPECIAL), (size,))].to(dtype)
    return torch.randint(-2 if dtype.is_signed else 0, 4, (size,)).to(dtype)


def between_noise(line: Tensor, offset: int) -> Tensor:
    """The same values in the middle of others that count everywhere, ``offset`` values further."""
    odd = math.nan if line.is_floating_point() else 1
    whole = torch.full((line.numel() + 2 * GUARD,), odd, dtype=line.dtype)
    at = whole[GUARD + offset : GUARD + offset + line.numel()]
    at.copy_(line)
    return at


def same(sums: Tensor, want: Tensor) -> None:
    """Counts exactly; sizes, of numbers that are not whole, in any order."""
    assert torch.equal(sums[:, :4], want[:, :4])
    torch.testing.assert_close(sums[:, 4], want[:, 4], rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_text_on_the_host(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    launched = set()

    def module(*what: Any) -> Any:
        launched.add(what[1])  # values a load
        return HostModule(kernel.cuda_text(*what))

    monkeypatch.setattr(kernel, "_module", module)
    monkeypatch.setattr(kernel, "_ENOUGH", 600)
    for shape, kind, offset in product(SHAPES, ("spikes", "special"), (0, 1)):
        x = between_noise(values(kind, math.prod(shape), dtype), offset).view(shape)
        fan_out = torch.randint(0, 2**20, shape[2:]).double()
        sums = torch.zeros(shape[0] + 2, 5, dtype=torch.float64)
        for times in (1, 2):
            kernel.add_tally(x, fan_out, sums[1:-1])
            same(sums[1:-1], times * tally_torch(x, fan_out))
        assert not sums[[0, -1]].any()
    assert {1, 16 // x.element_size()} <= launched


WHOLE = """
extern "C" void are_whole(const value_bits* x, unsigned char* whole, long long size) {
    for (long long i = 0; i < size; ++i) whole[i] = is_whole(x[i] & MAGNITUDE);
}
"""


@pytest.mark.parametrize("dtype", FLOATS)
def test_whole_is_told_from_bits(dtype: torch.dtype) -> None:
    """Each half there is, and floats of every size: torch rounds the same ones to themselves."""
    if dtype.itemsize == 2:
        x = torch.arange(-(2**15), 2**15).short().view(dtype)
    else:
        sizes = 2.0 ** torch.arange(-4.0, 70, dtype=torch.float64)[:, None]
        x = ((torch.randn(74, 256) * sizes).round() / 4).flatten().to(dtype)
    whole = torch.zeros(len(x), dtype=torch.bool)
    text = HostModule(kernel.cuda_text(dtype, 1) + WHOLE).library
    text.are_whole(*(ctypes.c_void_p(a.data_ptr()) for a in (x, whole)), ctypes.c_longlong(len(x)))
    assert torch.equal(whole, (x == x.round()) & x.isfinite())
    assert 0 < int(whole.sum()) < len(x)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_the_device(dtype: torch.dtype) -> None:
    for shape, kind in product([*SHAPES, (16, 16, 4096), (4, 3, 300_001)], ("spikes", "special")):
        x = values(kind, math.prod(shape), dtype).view(shape)
        fan_out = torch.randint(0, 2**20, shape[2:]).double()
        want = tally_torch(x, fan_out)
        on_device, fans = x.cuda(), fan_out.cuda()
        torch.cuda.set_sync_debug_mode("error")
        try:
            sums = tally(on_device, fans, shape[0])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        same(sums.cpu(), want)
    maps = values("special", 16 * 5 * 6 * 7, dtype).view(16, 5, 6, 7)
    fan_out = torch.randint(0, 99, (5, 6, 7))
    last = maps.cuda().contiguous(memory_format=torch.channels_last)
    same(tally(last, fan_out.cuda(), 4).cpu(), tally(maps, fan_out, 4))
