"""Spikes to bits and back: against numpy's own packing, in every layout and dtype."""

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import torch
from host_cuda import library
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikesim.errors import UserError
from spikesim.kernels import bits
from spikesim.kernels.layout import as_line, is_dense, memory_order

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
GUARD = 64


def spikes(
    shape: tuple[int, ...], dtype: torch.dtype, order: tuple[int, ...] | None = None
) -> Tensor:
    """Random spikes; ``order`` permutes how the dimensions lie in memory."""
    order = order or tuple(range(len(shape)))
    lying = (torch.rand([shape[d] for d in order]) < 0.3).to(dtype)
    back = [order.index(d) for d in range(len(shape))]
    return lying.permute(back)


def by_numpy(x: Tensor) -> Tensor:
    """The words as numpy packs them."""
    line = x.permute(sorted(range(x.dim()), key=lambda d: -x.stride(d))).reshape(-1).float().numpy()
    packed = np.packbits(line != 0, bitorder="little")
    return torch.from_numpy(np.pad(packed, (0, -len(packed) % 4)).view(np.int32).copy())


@st.composite
def arrays(draw: st.DrawFn) -> Tensor:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=5)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    return spikes(shape, draw(st.sampled_from(DTYPES)), order)


@given(arrays())
@settings(max_examples=150, deadline=None)
def test_bits_are_numpys_and_give_the_array_back(x: Tensor) -> None:
    packed = bits.pack(x)
    assert torch.equal(packed, bits.pack_torch(x))
    if x.numel():
        assert torch.equal(packed, by_numpy(x))
    for unpack in (bits.unpack, bits.unpack_torch):
        again = unpack(packed, x.shape, x.stride(), x.dtype)
        assert torch.equal(again, x)
        assert (again.stride(), again.dtype) == (x.stride(), x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 31, 32, 33, 64, 1025])
def test_sizes_around_a_word(size: int, dtype: torch.dtype) -> None:
    x = spikes((size,), dtype)
    packed = bits.pack(x)
    assert packed.shape == (-(-size // 32),)
    assert torch.equal(packed, by_numpy(x))
    assert torch.equal(bits.unpack(packed, (size,), (1,), dtype), x)


@pytest.mark.parametrize("pack", [bits.pack, bits.pack_torch])
@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_zero_is_no_spike(pack: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    assert pack(torch.tensor([-0.0, 1.0, 0.0], dtype=dtype)).tolist() == [2]


def test_a_bit_a_value() -> None:
    x = spikes((4, 8, 16, 16), torch.float32)
    assert bits.pack(x).nbytes * 32 == x.nbytes


def test_part_of_an_array_is_packed_where_it_begins() -> None:
    whole = spikes((3, 37), torch.float32)
    assert torch.equal(bits.pack(whole[1:]), by_numpy(whole[1:]))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, dtype=torch.int32), r"torch.int32; cast"),
        (torch.zeros(4, 4)[:, ::2], r"strides \(4, 2\)"),
        (torch.zeros(1, 4).expand(3, 4), r"strides \(0, 1\)"),
    ],
)
def test_what_cannot_be_packed(x: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bits.pack(x)


def test_dense_layouts() -> None:
    x = torch.zeros(2, 3, 4, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    assert is_dense(last.shape, last.stride())
    assert memory_order(last.stride()) == [0, 2, 3, 1]
    assert as_line(last).data_ptr() == last.data_ptr()
    assert not is_dense(x[:, 1:].shape, x[:, 1:].stride())


class Kernels:
    """The CUDA text of one size of value, compiled for the host."""

    def __init__(self, size: int) -> None:
        self._library = library(
            bits.cuda_text(size)
            + """
            extern "C" void run_pack(unsigned grid, Bits* a) {
                launch(grid, 256, [&] { pack_bits(*a); });
            }
            extern "C" void run_unpack(unsigned grid, Bits* a) {
                launch(grid, 256, [&] { unpack_bits(*a); });
            }
            """
        )

    def __call__(self, which: str, x: Tensor, words: Tensor) -> None:
        size = 4 * words.numel()
        one = bits._ONE[x.dtype]
        arguments = np.array([(x.data_ptr(), words.data_ptr(), x.numel(), size, one)], bits._LAUNCH)
        run = getattr(self._library, f"run_{which}")
        run(ctypes.c_uint(-(-size // 256)), ctypes.c_void_p(arguments.ctypes.data))


@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_text_on_the_host(dtype: torch.dtype) -> None:
    kernels = Kernels(torch.empty(0, dtype=dtype).element_size())
    for size in (1, 7, 8, 9, 33, 255, 2048, 2049, 5000):
        x = spikes((size,), dtype)
        count = -(-size // 32)
        words = torch.full((count + 2 * GUARD,), -7, dtype=torch.int32)
        kernels("pack", x, words[GUARD:-GUARD])
        assert torch.equal(words[GUARD:-GUARD], bits.pack_torch(x))
        assert bool((words[:GUARD] == -7).all() and (words[-GUARD:] == -7).all())
        out = torch.full((size + 2 * GUARD,), float("nan"), dtype=dtype)
        kernels("unpack", out[GUARD:-GUARD], words[GUARD:-GUARD])
        assert torch.equal(out[GUARD:-GUARD], x)
        assert bool(out[:GUARD].isnan().all() and out[-GUARD:].isnan().all())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (33,), (5, 1025), (3, 8, 17, 16)])
def test_on_the_device(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = spikes(shape, dtype)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    on_device = x.cuda()
    packed = bits.pack(on_device)
    assert torch.equal(packed.cpu(), bits.pack(x))
    again = bits.unpack(packed, on_device.shape, on_device.stride(), dtype)
    assert torch.equal(again, on_device)
    assert again.stride() == on_device.stride()
    # From the middle of a row, where 16 bytes at a time would not be aligned.
    assert torch.equal(bits.pack(on_device.reshape(-1)[1:]).cpu(), bits.pack(x.reshape(-1)[1:]))
