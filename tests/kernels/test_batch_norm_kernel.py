"""Moments of a batch and the gradient through them: kernels and loops against torch in 64 bits."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.kernels import batch_norm
from spikesim.kernels.batch_norm import add_statistics_gradient, cuda_text, moments
from spikesim.kernels.print_cuda import cuda_file

SHAPES = [(1, 2, 3), (4, 3, 8), (3, 2, 6, 5, 7), (5, 4, 16, 4, 4), (2, 3, 1, 9), (3, 40, 8, 33)]
MANY = [*SHAPES, (64, 32, 4), (7, 1, 64, 3)]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
ENTRIES = """
extern "C" void sizes(long long* to) { to[0] = sizeof(Moments); to[1] = sizeof(Gradient); }
extern "C" void run(int is_gradient, int grid, int block, const void* bytes) {
    launch(grid, block, [&] {
        if (is_gradient) add_statistics_gradient(*(const Gradient*)bytes);
        else thread_moments(*(const Moments*)bytes);
    });
}
"""


def lying(x: Tensor, last: bool) -> Tensor:
    return x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x


def sample(shape: tuple[int, ...], last: bool, dtype: torch.dtype) -> Tensor:
    """Means much larger than deviations."""
    places = torch.linspace(-10, 30, shape[2], dtype=torch.float64)
    x = torch.randn(shape, dtype=torch.float64) + places.view(-1, *[1] * (len(shape) - 3))
    return lying(x.to(dtype), last)


def check_gradient(
    shape: tuple[int, ...], last: bool, dtype: torch.dtype, backend: str, device: str = "cpu"
) -> None:
    dx, x = (lying(torch.randn(shape, dtype=torch.float64).to(dtype), last) for _ in range(2))
    real = torch.promote_types(dtype, torch.float32)
    values = [torch.randn(shape[2], dtype=real) for _ in range(5)]
    count = 7
    mean, inverse, scale, centred, plain = (
        v.double().view(-1, *[1] * (len(shape) - 3)) for v in values
    )
    share = (plain + (x.double() - mean) * inverse.square() * centred) * scale / count
    expected = (dx.double() - share).to(dtype)
    dx, x = (v.to(device) for v in (dx, x))
    before, strides = x.clone(), dx.stride()
    add_statistics_gradient(dx, x, *(v.to(device) for v in values), count, backend=backend)
    assert dx.stride() == strides
    assert torch.equal(x, before)
    # A few roundings of the largest term, and one of the storage.
    unit = torch.finfo(dtype).eps
    largest = float(share.abs().max())
    torch.testing.assert_close(dx.cpu(), expected, rtol=unit, atol=8 * unit * max(1.0, largest))


def check_moments(found: tuple[Tensor, Tensor], x: Tensor) -> None:
    axes = [axis for axis in range(x.dim()) if axis != 2]
    variance, mean = torch.var_mean(x.double(), axes, correction=0)
    real = torch.promote_types(x.dtype, torch.float32)
    # In float64 the expected values are sums in another order too.
    unit = torch.finfo(real).eps * (32 if real == torch.float64 else 1)
    assert [v.dtype for v in found] == [real, real]
    # Sums of many values in another order; from sum(x^2) the variances would be lost.
    torch.testing.assert_close(found[0].double(), mean, rtol=32 * unit, atol=32 * unit)
    torch.testing.assert_close(found[1].double(), variance, rtol=128 * unit, atol=0)


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_on_the_cpu(
    shape: tuple[int, ...], last: bool, dtype: torch.dtype, backend: str
) -> None:
    check_gradient(shape, last, dtype, backend)


def test_nothing_to_do_for_an_empty_array() -> None:
    x = torch.zeros(0, 2, 3)
    add_statistics_gradient(x, x, *torch.zeros(5, 3), 1, backend="numba")


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES[1:4])
def test_moments_on_the_cpu_are_those_of_torchs_batch_norm(
    shape: tuple[int, ...], last: bool
) -> None:
    x = sample(shape, last, torch.float32)
    norm = torch.nn.BatchNorm1d(shape[2], momentum=1.0)
    norm(x.flatten(0, 1).flatten(2) if len(shape) > 3 else x.flatten(0, 1))
    mean, variance = moments(x)
    torch.testing.assert_close(mean, norm.running_mean, rtol=1e-6, atol=1e-6)
    count = x.numel() // shape[2]
    torch.testing.assert_close(variance * count / (count - 1), norm.running_var, rtol=1e-5, atol=0)
    for dtype in (torch.float16, torch.bfloat16):
        assert [v.dtype for v in moments(x.to(dtype))] == [torch.float32] * 2


class HostModule:
    """CUDA text compiled for this machine, launched as the real module is."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        sizes = (ctypes.c_longlong * 2)()
        library.sizes(sizes)
        self.sizes = list(sizes)

    def launch(
        self, name: str, device: torch.device, grid: int, block: int, arguments: np.ndarray
    ) -> None:
        place = ["thread_moments", "add_statistics_gradient"].index(name)
        assert grid >= 1
        assert arguments.nbytes == self.sizes[place]
        self.library.run(place, grid, block, ctypes.c_void_p(arguments.ctypes.data))


@pytest.fixture
def widths(
    monkeypatch: pytest.MonkeyPatch, compile_on_host: Callable[[str], ctypes.CDLL]
) -> set[int]:
    """Which widths ran."""
    ptx = f'#include "{Path(__file__).with_name("host_ptx.h")}"\n'
    seen: set[int] = set()

    def module(storage: torch.dtype, width: int) -> HostModule:
        seen.add(width)
        text = cuda_text(storage, width).replace(cuda_file("ptx.cuh"), ptx)
        return HostModule(compile_on_host(text + ENTRIES))

    monkeypatch.setattr(batch_norm, "_module", module)
    # So that small arrays take several rows and rounds.
    monkeypatch.setattr(batch_norm, "_threads", lambda packs: max(1, packs // 6))
    return seen


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_text_on_the_host(dtype: torch.dtype, widths: set[int]) -> None:
    used = 0
    for last in (False, True):
        for shape in MANY:
            check_gradient(shape, last, dtype, "cupy")
            x = sample(shape, last, dtype)
            found = batch_norm._moments(x)
            if found is not None:
                used += 1
                check_moments(found, x)
    assert used >= 8
    assert widths == {1, 16 // dtype.itemsize}


def test_unaligned_arrays_are_taken_value_by_value(widths: set[int]) -> None:
    x = sample((3, 4, 8), False, torch.float32)
    shifted = torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)
    check_moments(batch_norm._moments(shifted), x)  # type: ignore[arg-type]
    assert widths == {1}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "shape", [*MANY, (16, 16, 64, 32, 32), (70, 300, 17), (16, 17, 24, 17, 17)]
)
def test_on_the_device(shape: tuple[int, ...], last: bool, dtype: torch.dtype) -> None:
    pytest.importorskip("cupy", reason="needs CuPy")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    check_gradient(shape, last, dtype, "cupy", "cuda")
    x = sample(shape, last, dtype)
    check_moments(tuple(v.cpu() for v in moments(x.cuda())), x)  # type: ignore[arg-type]
