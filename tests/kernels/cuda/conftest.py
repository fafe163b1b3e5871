"""CUDA kernels compiled for the host, and launched there as on a device."""

import ctypes
from collections.abc import Callable, Iterator

import pytest
import torch
from host_cuda import HostModule, run_on_host

from spikesim.kernels import (
    batch_norm,
    cupy_backend,
    cupy_module,
    engine_cuda_plastic,
    engine_cuda_records,
)
from spikesim.kernels.call import EVERY
from spikesim.kernels.cupy_backend import CupyBackend
from spikesim.kernels.print_cuda import Variant, cuda_text
from spikesim.kernels.program import Program
from spikesim.network import Network


@pytest.fixture
def on_host() -> Callable[[str, object], HostModule]:
    return lambda text, _: HostModule(text)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> CupyBackend:
    """The CUDA backend, with its kernels on the host."""

    def kernel(program: Program, variant: Variant) -> HostModule:
        return HostModule(cuda_text(program, variant, EVERY))

    monkeypatch.setattr(cupy_backend, "_kernel", kernel)
    monkeypatch.setattr(cupy_module, "_pointer", lambda: ctypes.c_void_p)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: 0, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: 0, raising=False)
    return CupyBackend()


@pytest.fixture
def host_batch_norm(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Batch norm's CUDA kernels on the host; tells which widths ran."""
    seen: set[int] = set()

    def module(storage: torch.dtype, width: int) -> HostModule:
        seen.add(width)
        return HostModule(batch_norm.cuda_text(storage, width))

    monkeypatch.setattr(batch_norm, "_module", module)
    # So that small arrays take several rows and rounds.
    monkeypatch.setattr(batch_norm, "_threads", lambda packs, width: max(1, packs // 6))
    monkeypatch.setattr(batch_norm, "_MANY", 64)
    batch_norm._plan.cache_clear()
    yield seen
    batch_norm._plan.cache_clear()


@pytest.fixture
def plastic_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network], Network]:
    """Makes a network run on the CUDA engine, with its kernels on the host."""

    def moved(net: Network) -> Network:
        net.device = torch.device("cuda")
        return net

    run_on_host(monkeypatch)
    monkeypatch.setattr(engine_cuda_plastic, "BLOCKS", 2)
    monkeypatch.setattr(engine_cuda_records, "SHARES", 1)
    return moved


@pytest.fixture(params=["host", pytest.param("device", marks=pytest.mark.gpu)])
def plastic_cuda(request: pytest.FixtureRequest) -> Callable[[Network], Network]:
    """Makes a network run on the CUDA engine: on the host, and on a device where there is one."""
    if request.param == "host":
        found: Callable[[Network], Network] = request.getfixturevalue("plastic_host")
        return found

    def moved(net: Network) -> Network:
        net.device = torch.device("cuda", 0)
        return net

    return moved
