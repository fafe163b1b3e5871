"""CUDA kernels compiled for the host, and launched there as on a device."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from spikesim.kernels import (
    batch_norm,
    cupy_backend,
    cupy_module,
    engine_cuda_plastic,
    engine_cuda_records,
)
from spikesim.kernels.call import EVERY
from spikesim.kernels.cupy_backend import CupyBackend
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.kernels.print_cuda import Variant, cuda_file, cuda_text
from spikesim.kernels.program import Program
from spikesim.network import Network, running


class HostModule:
    """CUDA text whose kernels run on the host, launched as those of a module are."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library

    def launch(
        self, name: str, device: torch.device, grid: int, block: int, arguments: bytes
    ) -> None:
        packed = bytes(arguments)
        assert grid >= 1
        size_of = getattr(self.library, f"size_of_{name}")
        size_of.restype = ctypes.c_longlong
        assert len(packed) == size_of()
        getattr(self.library, f"run_{name}")(grid, block, packed)

    def function(self, name: str, index: int) -> Callable[..., None]:
        """A kernel, as CuPy calls it."""

        def run(grid: tuple[int], block: tuple[int], pointers: Any, *_: object) -> None:
            (address,) = pointers
            getattr(self.library, f"run_{name}")(*grid, *block, address)

        return run


OnHost: TypeAlias = Callable[[str, dict[str, str]], HostModule]


@pytest.fixture
def on_host(compile_on_host: Callable[[str], ctypes.CDLL]) -> OnHost:
    """Makes a module of CUDA text, given the struct that each kernel takes by value."""
    ptx = f'#include "{Path(__file__).parents[1] / "host_ptx.h"}"\n'
    entry = """
extern "C" long long size_of_{kernel}() {{ return sizeof({struct}); }}
extern "C" void run_{kernel}(int grid, int block, const void* bytes) {{
    {struct} a;
    std::memcpy(&a, bytes, sizeof a);
    launch(grid, block, [&] {{ {kernel}(a); }});
}}
"""

    def module(text: str, structs: dict[str, str]) -> HostModule:
        entries = (entry.format(kernel=kernel, struct=of) for kernel, of in structs.items())
        text = text.replace(cuda_file("ptx.cuh"), ptx) + "".join(entries)
        return HostModule(compile_on_host(text))

    return module


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, on_host: OnHost) -> CupyBackend:
    """The CUDA backend, with its kernels on the host."""

    def kernel(program: Program, variant: Variant) -> HostModule:
        structs = {"forward": "Arguments", "backward": "Arguments"}
        return on_host(cuda_text(program, variant, EVERY), structs)

    monkeypatch.setattr(cupy_backend, "_kernel", kernel)
    monkeypatch.setattr(cupy_module, "_pointer", lambda: ctypes.c_void_p)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda index: 0, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getDevice", lambda: 0, raising=False)
    return CupyBackend()


@pytest.fixture
def host_batch_norm(monkeypatch: pytest.MonkeyPatch, on_host: OnHost) -> Iterator[set[int]]:
    """Batch norm's CUDA kernels on the host; tells which widths ran."""
    structs = {
        "thread_moments": "Moments",
        "join_moments": "Statistics",
        "fold_sums": "Fold",
        "join_sums": "Sums",
        "add_statistics_gradient": "Gradient",
    }
    seen: set[int] = set()

    def module(storage: torch.dtype, width: int) -> HostModule:
        seen.add(width)
        return on_host(batch_norm.cuda_text(storage, width), structs)

    monkeypatch.setattr(batch_norm, "_module", module)
    # So that small arrays take several rows and rounds.
    monkeypatch.setattr(batch_norm, "_threads", lambda packs, width: max(1, packs // 6))
    monkeypatch.setattr(batch_norm, "_MANY", 64)
    batch_norm._plan.cache_clear()
    yield seen
    batch_norm._plan.cache_clear()


PASSES = ("settle", "fold", "look", "empty")
ENGINE_STRUCTS = {
    " update(": {"update": "Update"},
    " deliver(": {"deliver": "Deliver", "give": "Give", "watch": "Watching", "tick": "Tick"},
    " merge(": {"merge": "Merge"},
    " keep(": {"keep": "Remember", "act": "Act", **dict.fromkeys(PASSES, "Pass")},
}
"""By a kernel of a text the struct of each of its kernels."""


@pytest.fixture
def plastic_host(monkeypatch: pytest.MonkeyPatch, on_host: OnHost) -> Callable[[Network], Network]:
    """Makes a network run on the CUDA engine, with its kernels on the host."""

    def module(text: str) -> HostModule:
        head = "GLOBAL void __launch_bounds__(THREADS)"
        return on_host(text, next(of for name, of in ENGINE_STRUCTS.items() if head + name in text))

    class HostEngine(CudaEngine):
        def __init__(self, operations: Any, block: int, device: Any, before: Any = None) -> None:
            super().__init__(operations, block, torch.device("cpu"), before)

    def moved(net: Network) -> Network:
        net.device = torch.device("cuda")
        return net

    monkeypatch.setattr(cupy_module, "module", module)
    monkeypatch.setattr(running, "CudaEngine", HostEngine)
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
