"""CUDA text that g++ compiles, launched as on a device: what ``host_shim.h`` says, uncontracted."""

import ctypes
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesim.files import cache_folder, locked
from spikesim.kernels import cupy_module
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.kernels.print_cuda import cuda_file
from spikesim.network import running

HERE = Path(__file__).parent
HOST = torch.device("cpu")
KERNEL = re.compile(r"^GLOBAL [\w ()]*?(\w+)\((?:const )?(\w+) \w+\) \{", re.MULTILINE)
"""The name of a kernel, and the struct that it takes by value."""
ENTRY = """
extern "C" long long size_of_{kernel}() {{ return sizeof({struct}); }}
extern "C" void run_{kernel}(int grid, int block, const void* bytes) {{
    {struct} a;
    std::memcpy(&a, bytes, sizeof a);
    launch(grid, block, [&] {{ {kernel}(a); }});
}}
"""


@cache
def library(text: str) -> ctypes.CDLL:
    """The library of a text, compiled once for all processes that share a cache."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: CUDA text cannot be compiled for the host")
    shim = (HERE / "host_shim.h").read_text()
    path = cache_folder() / "host" / f"{hashlib.sha256((shim + text).encode()).hexdigest()}.so"
    with locked(path.with_suffix(".lock"), "compiling CUDA text for the host"):
        if not path.exists():
            source, part = path.with_suffix(".cpp"), path.with_suffix(".part")
            source.write_text(shim + text)
            flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
            subprocess.run([compiler, *flags, "-o", part, source], check=True)
            part.rename(path)
    return ctypes.CDLL(str(path))


class HostModule:
    """CUDA text whose kernels run on the host, launched as those of a module are."""

    def __init__(self, text: str) -> None:
        entries = (ENTRY.format(kernel=name, struct=of) for name, of in KERNEL.findall(text))
        ptx = (HERE / "host_ptx.h").read_text()
        self.library = library(text.replace(cuda_file("ptx.cuh"), ptx) + "".join(entries))

    def launch(
        self, name: str, device: torch.device, grid: int, block: int, arguments: Any
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


class HostEngine(CudaEngine):
    """The CUDA engine, whose arrays and kernels are the host's."""

    def __init__(self, operations: Any, block: int, device: Any, before: Any = None) -> None:
        super().__init__(operations, block, HOST, before)


def run_on_host(patch: pytest.MonkeyPatch) -> None:
    """Networks whose ``device`` is that of CUDA run on the host."""
    patch.setattr(cupy_module, "module", cache(HostModule))
    patch.setattr(running, "CudaEngine", HostEngine)
