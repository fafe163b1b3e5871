"""Memory of large arrays is kept for the next ones, and never given to two at once."""

from collections import deque
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from spikesim.kernels import pages
from spikesim.neurons import LIF

COUNT = pages.PAGE // 4 + 1
"""float32 numbers of a block of two pages."""


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, deque[object]]]:
    kept: dict[int, deque[object]] = {}
    monkeypatch.setattr(pages, "_free", kept)
    yield kept
    kept.clear()


def _block(count: int = COUNT) -> Tensor:
    return pages.empty((count,), (1,), torch.float32)


def test_strides_and_dtypes_are_those_asked_for() -> None:
    like = torch.empty(3, 5, 7, 1 << 15, dtype=torch.bfloat16).permute(0, 3, 1, 2)
    got = pages.empty(like.shape, like.stride(), like.dtype)
    assert (got.shape, got.stride(), got.dtype) == (like.shape, like.stride(), like.dtype)
    assert got.untyped_storage().nbytes() == like.untyped_storage().nbytes()
    assert got.data_ptr() % 64 == 0
    got.fill_(3.0).mul_(2.0)  # not a view, so that autograd allows it everywhere
    assert not got._is_view()
    assert bool((got == 6.0).all())


def test_memory_comes_back_with_the_last_view() -> None:
    array = _block()
    address, view = array.data_ptr(), array[5:].numpy()
    del array
    assert _block().data_ptr() != address
    del view
    assert address in {block.data_ptr() for block in [_block(), _block()]}


def test_live_arrays_share_nothing() -> None:
    first = _block().fill_(1.0)
    del first
    arrays = [_block().fill_(float(i)) for i in range(4)]
    assert [array.unique().tolist() for array in arrays] == [[0.0], [1.0], [2.0], [3.0]]


def test_no_more_is_kept_than_allowed(
    free: dict[int, deque[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "KEPT", 6 * pages.PAGE)
    old = [_block() for _ in range(3)]
    old.clear()
    assert {size: len(blocks) for size, blocks in free.items()} == {2 * pages.PAGE: 3}
    _block(3 * COUNT)  # another size: what was kept leaves
    assert {size: len(blocks) for size, blocks in free.items()} == {4 * pages.PAGE: 1}


def test_a_neuron_runs_in_the_memory_of_the_call_before() -> None:
    neuron = LIF()
    neuron.backend = "numba"
    x = torch.randn(4, 1, COUNT, requires_grad=True)

    def addresses() -> set[int]:
        x.grad = None
        spikes = neuron(x)
        spikes.backward(x.detach())
        assert x.grad is not None
        return {spikes.data_ptr(), x.grad.data_ptr()}

    assert addresses() == addresses()


def test_small_arrays_and_symbolic_ones_are_left_to_torch(free: dict[int, deque[object]]) -> None:
    neuron = LIF()
    neuron.backend = "numba"
    neuron(torch.randn(4, 1, 33))
    assert not free
    compiled = torch.compile(neuron, backend="eager", fullgraph=True)
    x = torch.randn(2, 1, COUNT)
    assert torch.equal(compiled(x), neuron(x))
