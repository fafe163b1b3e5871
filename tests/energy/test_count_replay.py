"""Batches that are replayed: a stand-in for a CUDA graph runs them again, into the same arrays."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesim.attention import SSA
from spikesim.energy import replay
from spikesim.energy.count import count
from spikesim.energy.layer import Counts
from spikesim.errors import BackendError
from spikesim.layers import conv_bn_neuron
from spikesim.neurons import LIF

captures: list[int] = []


def run_again(function: Callable[[], Any], device: torch.device) -> tuple[Any, Callable[[], None]]:
    """As a graph does: what was made at capture holds nothing until it is replayed."""
    found = function()
    sums = found[-1]
    captures.append(len(sums))
    sums.fill_(float("nan"))
    return found, lambda: sums.copy_(function()[-1])


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setattr(replay, "captured", run_again)
    captures.clear()
    return captures


class Attends(nn.Module):
    """Convolution, norm, neurons, attention of spikes, a part that is listed, and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_neuron(2, 4, 3, LIF(v_threshold=0.2))
        self.attention = SSA(0.5)
        self.head = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x).flatten(-2)  # [T, B, 4, 9]
        s = self.attention(s, s, s)
        return self.head(s.flatten(2)).cumprod(-1)


def batches() -> list[Tensor]:
    torch.manual_seed(3)
    sizes = (3, 2, 3, 3, 2, 3)
    return [torch.poisson(torch.full((4, size, 2, 3, 3), 0.3)) for size in sizes]


def test_replays_count_what_runs_count(graphs: list[int]) -> None:
    model = Attends()
    plain, replayed = count(model, batches()), count(model, batches(), cuda_graph=True)
    assert len(graphs) == 2  # a graph for each size of batch
    assert graphs[0] > 20
    assert isinstance(plain, Counts)
    assert [layer.name for layer in replayed] == [layer.name for layer in plain]
    for ours, theirs in zip(replayed, plain, strict=True):
        assert ours == theirs
    assert replayed == plain
    assert plain.uncovered
    assert "6 calls" in plain.uncovered[0]


def test_a_nan_in_a_replay_is_seen(graphs: list[int]) -> None:
    given = batches()
    given[3][0, 0] = float("nan")
    with pytest.raises(Exception, match="batch 3"):
        count(Attends(), given, cuda_graph=True)


def test_no_graph_without_a_gpu() -> None:
    with pytest.raises(BackendError, match=r"on a CUDA device, they are on cpu; leave it out"):
        count(nn.Linear(3, 2), [torch.ones(2, 1, 3)] * 2, cuda_graph=True)


@pytest.mark.gpu
def test_on_the_device() -> None:
    model = Attends().cuda()
    given = [x.cuda() for x in batches()]
    plain, replayed = count(model, given), count(model, given, cuda_graph=True)
    assert replayed == plain


@pytest.mark.gpu
def test_nothing_waits_for_the_device_within_a_batch() -> None:
    given = [x.cuda() for x in batches()]

    def strictly() -> Iterator[Tensor]:
        yield given[0]
        torch.cuda.set_sync_debug_mode("error")
        yield from given[1:]
        torch.cuda.set_sync_debug_mode("default")

    try:
        assert count(Attends().cuda(), strictly()).samples == 16
    finally:
        torch.cuda.set_sync_debug_mode("default")


def reused_by_two_streams() -> int:
    """Bytes that the allocator takes for arrays used one after another, each on two streams."""
    torch.cuda.empty_cache()
    before, other = torch.cuda.memory_reserved(), torch.cuda.Stream()
    for _ in range(4):
        x = torch.zeros(2**24, device="cuda")
        x.record_stream(other)
        del x
        torch.cuda.synchronize()
    return torch.cuda.memory_reserved() - before


@pytest.mark.gpu
def test_what_cannot_be_captured_says_so_and_leaves_nothing_behind() -> None:
    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(x.sum())

    given = [torch.ones(2, 1, 3, device="cuda")] * 2
    stream, memory = torch.cuda.current_stream(), reused_by_two_streams()
    torch.cuda.manual_seed(0)
    drawn = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(0)
    with pytest.raises(BackendError, match=r"not permitted when stream is capturing.*; leave it"):
        count(Waits(), given, cuda_graph=True)
    assert torch.cuda.current_stream() == stream
    assert torch.equal(torch.rand(3, device="cuda"), drawn)
    assert reused_by_two_streams() <= memory
    assert count(Waits(), given).samples == 2


@pytest.mark.gpu
def test_an_error_of_the_model_during_a_capture_is_told() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if torch.cuda.is_current_stream_capturing():
                raise RuntimeError
            return x

    with pytest.raises(BackendError, match=r"cannot be captured \(RuntimeError\)"):
        count(Fails(), [torch.ones(2, 1, 3, device="cuda")] * 2, cuda_graph=True)
    assert torch.rand(3, device="cuda").isfinite().all()
