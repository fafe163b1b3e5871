"""The printed polynomials: right to the last bits, and the same bits from numba and from C++."""

import ctypes
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from host_cuda import library
from numba import njit

from spikesim.kernels import maths_numba
from spikesim.kernels.cupy_module import module
from spikesim.kernels.print_cuda import cuda_file

# In units of the last place; measured over all floats: 1.013, 0.860 and 1.333.
ULPS = {"exp": 1.05, "log": 0.9, "tanh": 1.4}
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    1.1754942e-38,
    3.4e38,
    -3.4e38,
]
Run = Callable[[np.ndarray], np.ndarray]


def _floats() -> np.ndarray:
    """Random bit patterns, dense where a function does most, and every special case."""
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, 300_000, dtype=np.uint32).view(np.float32)
    near = [random.uniform(-s, s, 100_000).astype(np.float32) for s in (110.0, 10.0, 1.0, 1e-3)]
    return np.concatenate([bits, *near, 1 + near[3], np.array(SPECIAL, dtype=np.float32)])


def _numba(name: str) -> Run:
    function = getattr(maths_numba, f"{name}_")

    @njit
    def loop(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    def run(x: np.ndarray) -> np.ndarray:
        out = np.full_like(x, 77.0)
        loop(x, out)
        return out

    run.loop = loop  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="session")
def host() -> Callable[[str, type], Run]:
    kernels = "".join(
        f'extern "C" void {name}_{real}(const {real}* x, {real}* y, long long n) '
        f"{{ for (long long i = 0; i < n; ++i) y[i] = {name}_(x[i]); }}\n"
        for name in ULPS
        for real in ("float", "double")
    )
    compiled = library(cuda_file("maths.cuh") + kernels)

    def get(name: str, kind: type) -> Run:
        function = getattr(compiled, f"{name}_{'float' if kind is np.float32 else 'double'}")

        def run(x: np.ndarray) -> np.ndarray:
            out = np.full_like(x, 77.0)
            function(*(ctypes.c_void_p(a.ctypes.data) for a in (x, out)), ctypes.c_longlong(x.size))
            return out

        return run

    return get


@pytest.mark.parametrize("name", ULPS)
def test_polynomials_are_right_to_the_last_bits(name: str) -> None:
    x = _floats()
    got = _numba(name)(x)
    with np.errstate(all="ignore"):
        true = getattr(np, name)(x.astype(np.float64))
        expected = true.astype(np.float32)
        assert np.array_equal(np.isnan(got), np.isnan(expected))
        plain = np.isfinite(expected) & (expected != 0)
        # the spacing below the largest float stays that of its binade
        unit = np.spacing(np.minimum(np.abs(expected[plain]), np.float32(3e38))).astype(np.float64)
        error = np.abs(got[plain].astype(np.float64) - true[plain]) / unit
    assert error.max() <= ULPS[name]
    rest = ~plain & ~np.isnan(expected)
    assert np.array_equal(got[rest].view(np.int32), expected[rest].view(np.int32))


@pytest.mark.parametrize("name", ULPS)
def test_cuda_text_gives_the_bits_of_numba(name: str, host: Callable[[str, type], Run]) -> None:
    x = _floats()
    expected, got = _numba(name)(x), host(name, np.float32)(x)
    numbers = ~np.isnan(expected)
    assert np.array_equal(numbers, ~np.isnan(got))
    assert np.array_equal(expected[numbers].view(np.int32), got[numbers].view(np.int32))


@pytest.mark.parametrize("name", ULPS)
def test_double_is_the_platforms_own(name: str, host: Callable[[str, type], Run]) -> None:
    x = np.random.default_rng(0).uniform(0.0, 20.0, 1000)
    expected = getattr(np, name)(x)
    assert np.allclose(host(name, np.float64)(x), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ULPS)
def test_a_loop_vectorises(name: str) -> None:
    run = _numba(name)
    run(np.ones(8, np.float32))
    (text,) = run.loop.inspect_asm().values()  # type: ignore[attr-defined]
    if "xmm" not in text:
        pytest.skip("no x86 processor")
    assert re.search(r"v?mulps\s", text), "products of single values only"


def test_cuda_text_includes_nothing() -> None:
    assert "#include" not in cuda_file("maths.cuh") + cuda_file("philox.cuh")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ULPS)
def test_the_device_gives_the_bits_of_numba(name: str) -> None:
    kernel = module(
        cuda_file("maths.cuh") + "struct Arguments { const float* x; float* y; long long n; };\n"
        'extern "C" __global__ void run(const Arguments a) {\n'
        "  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;\n"
        f"  if (i < a.n) a.y[i] = {name}_(a.x[i]);\n}}"
    )
    x = _floats()
    on_device = torch.from_numpy(x).cuda()
    out = torch.full_like(on_device, 77.0)
    arguments = struct.pack("QQq", on_device.data_ptr(), out.data_ptr(), x.size)
    kernel.launch("run", on_device.device, x.size // 256 + 1, 256, arguments)
    expected, got = _numba(name)(x), out.cpu().numpy()
    numbers = ~np.isnan(expected)
    assert np.array_equal(numbers, ~np.isnan(got))
    assert np.array_equal(expected[numbers].view(np.int32), got[numbers].view(np.int32))
