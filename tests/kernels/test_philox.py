"""Random numbers of the kernels: published answers, and the bits of the torch reference."""

import ctypes
from typing import Any

import numpy as np
import pytest
import torch
from host_cuda import library
from numba import njit, uint64

from spikesim.kernels import philox_numba
from spikesim.kernels.print_cuda import cuda_file
from spikesim.random import Stream

# counter | key | words: the vectors published with Random123 (Salmon et al., 2011).
KNOWN = (
    ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
)
SEED, SAMPLE, STEP, LAYER = (0x9ABCDEF0 << 31) + 12345, 2**32 - 2, 7, 3
SHAPE = (3, 5, 4, 6)  # of one step: samples 2^32 - 2, 2^32 - 1 and, after the last word, 0
KINDS = ("uniform", "normal")
TEXT = """
extern "C" __global__ void draw(const long long* position, unsigned layer, unsigned size,
                                unsigned channels, long long steps, long long n, int draws,
                                const int* kinds, float* out) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= n) return;
    for (long long t = 0; t < steps; ++t) {
        Draw draw(position, layer, size, channels, t, i);
        for (int d = 0; d < draws; ++d)
            out[(t * draws + d) * n + i] = kinds[d] ? draw.normal() : draw.uniform();
    }
}
"""
ON_DEVICE = cuda_file("maths.cuh") + cuda_file("philox.cuh") + TEXT
ON_HOST = (
    ON_DEVICE
    + """
extern "C" void words(const unsigned* c, const unsigned* k, unsigned* out) {
    const uint4 block = philox({c[0], c[1], c[2], c[3]}, k[0], k[1]);
    out[0] = block.x, out[1] = block.y, out[2] = block.z, out[3] = block.w;
}

extern "C" void run(const long long* position, unsigned layer, unsigned size, unsigned channels,
                    long long steps, long long n, int draws, const int* kinds, float* out) {
    launch((n + 31) / 32, 32, [&] {
        draw(position, layer, size, channels, steps, n, draws, kinds, out);
    });
}
"""
)


def _words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("case", KNOWN)
def test_numba_gives_the_known_answers(case: tuple[str, str, str]) -> None:
    counter, key, expected = map(_words, case)
    philox = philox_numba.philox.py_func
    with np.errstate(over="ignore"):
        assert [int(word) for word in philox(*key, *counter)] == expected
    assert [int(w) for w in philox_numba.philox(*map(np.uint64, (*key, *counter)))] == expected


@pytest.mark.parametrize("case", KNOWN)
def test_cuda_text_gives_the_known_answers(case: tuple[str, str, str]) -> None:
    counter, key, expected = map(_words, case)
    given = [(ctypes.c_uint * len(part))(*part) for part in (counter, key)]
    out = (ctypes.c_uint * 4)()
    library(ON_HOST).words(*given, out)
    assert list(out) == expected


def _reference(kinds: tuple[int, ...], steps: int) -> np.ndarray:
    """``[steps, draws, B, C, H, W]``."""
    stream = Stream(torch.tensor([SEED, SAMPLE, STEP]), LAYER)
    rows = [
        [getattr(stream, KINDS[kind])(t, d, SHAPE) for d, kind in enumerate(kinds)]
        for t in range(steps)
    ]
    return torch.stack([torch.stack(row) for row in rows]).numpy()


@pytest.mark.parametrize("kinds", [(0,), (1,), (1, 0, 0, 1, 1)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_cuda_text_draws_the_bits_of_torch(
    kinds: tuple[int, ...],
    channels_last: bool,
) -> None:
    B, C, H, W = SHAPE
    position = np.array([SEED, SAMPLE, STEP])
    flags = np.array(kinds, dtype=np.int32)
    out = np.full((2, len(kinds), B * C * H * W), np.nan, dtype=np.float32)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (position, flags, out)]
    unsigned = [ctypes.c_uint(v) for v in (LAYER, C * H * W, C if channels_last else 1)]
    long = [ctypes.c_longlong(v) for v in (2, B * C * H * W)]
    library(ON_HOST).run(pointers[0], *unsigned, *long, ctypes.c_int(len(kinds)), *pointers[1:])
    if channels_last:
        got = out.reshape(2, len(kinds), B, H, W, C).transpose(0, 1, 2, 5, 3, 4)
    else:
        got = out.reshape(2, len(kinds), *SHAPE)
    assert np.array_equal(got, _reference(kinds, 2))


@pytest.mark.parametrize("kind", [0, 1])
def test_numba_draws_the_bits_of_torch(kind: int) -> None:
    philox = philox_numba.philox
    value = getattr(philox_numba, KINDS[kind])

    @njit
    def loop(key: Any, element: Any, sample: Any, step: Any, layer: Any, out: Any) -> None:
        for i in range(out.shape[1]):
            a, b, c, d = philox(
                key, key >> uint64(32), element[i], sample[i], step, uint64(layer << 8)
            )
            out[0, i] = value(a, b)
            out[1, i] = value(c, d)

    B, size = SHAPE[0], int(np.prod(SHAPE[1:]))
    element = np.tile(np.arange(size, dtype=np.uint32), B)
    sample = np.repeat(np.arange(SAMPLE, SAMPLE + B, dtype=np.uint64), size)
    expected = _reference((kind, kind), 2)
    for t in range(2):
        out = np.full((2, B * size), np.nan, dtype=np.float32)
        loop(np.uint64(SEED), element, sample, np.uint64(STEP + t), LAYER, out)
        assert np.array_equal(out.reshape(2, *SHAPE), expected[t])


@pytest.mark.gpu
def test_the_device_draws_the_bits_of_torch() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    kinds = (1, 0, 0, 1, 1)
    B, C, H, W = SHAPE
    n = B * C * H * W
    kernel = cupy.RawKernel(ON_DEVICE, "draw")
    out = cupy.full((2, len(kinds), n), cupy.nan, dtype=cupy.float32)
    position = cupy.asarray(np.array([SEED, SAMPLE, STEP]))
    flags = cupy.asarray(np.array(kinds, dtype=np.int32))
    numbers = (np.uint32(LAYER), np.uint32(C * H * W), np.uint32(1), np.int64(2), np.int64(n))
    kernel((n // 64 + 1,), (64,), (position, *numbers, np.int32(len(kinds)), flags, out))
    expected = _reference(kinds, 2)
    assert np.array_equal(out.get().reshape(expected.shape), expected)
    stream = Stream(torch.tensor([SEED, SAMPLE, STEP], device="cuda"), LAYER)
    for d, kind in enumerate(kinds):
        again = getattr(stream, KINDS[kind])(1, d, SHAPE).cpu().numpy()
        assert np.array_equal(again, expected[1, d])
