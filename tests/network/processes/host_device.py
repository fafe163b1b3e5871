"""Networks on the CUDA engine with its kernels compiled for the host, where there is no device."""

import ctypes
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesim.kernels import cupy_module
from spikesim.kernels.engine_cupy import CudaEngine
from spikesim.kernels.print_cuda import cuda_file
from spikesim.network import build, running

KERNELS = Path(__file__).parents[2] / "kernels"
HOST = torch.device("cpu")
ENTRY = """
extern "C" void run_{kernel}(int grid, int block, const void* bytes) {{
    {struct} a;
    std::memcpy(&a, bytes, sizeof a);
    launch(grid, block, [&] {{ {kernel}(a); }});
}}
"""
KERNEL = re.compile(r"GLOBAL void __launch_bounds__\(THREADS\) (\w+)\((\w+) a\)")


class Module:
    """A text's kernels on the host."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def launch(self, name: str, device: Any, grid: int, block: int, arguments: Any) -> None:
        getattr(self._library, f"run_{name}")(grid, block, bytes(arguments))


def compiled(folder: Path, text: str) -> Module:
    """A module, compiled once for all processes."""
    entries = (ENTRY.format(kernel=kernel, struct=of) for kernel, of in KERNEL.findall(text))
    ptx = f'#include "{KERNELS / "host_ptx.h"}"\n'
    text = text.replace(cuda_file("ptx.cuh"), ptx) + "".join(entries)
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    library = folder / f"{name}.so"
    if not library.exists():
        mine = folder / f"{name}-{os.getpid()}"
        source = mine.with_suffix(".cpp")
        source.write_text(f'#include "{KERNELS / "host_shim.h"}"\n{text}')
        flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
        subprocess.run(["g++", *flags, "-o", mine, source], check=True)
        mine.rename(library)
    return Module(library)


@contextmanager
def on_host(folder: Path) -> Iterator[None]:
    """Inside, networks whose ``device`` is set to that of CUDA run on the host."""

    class HostEngine(CudaEngine):
        def __init__(self, operations: Any, block: int, device: Any, before: Any = None) -> None:
            super().__init__(operations, block, HOST, before)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cupy_module, "module", cache(partial(compiled, folder)))
        patch.setattr(running, "CudaEngine", HostEngine)
        patch.setattr(build, "DeviceExchange", partial(_exchange, build.DeviceExchange))
        yield


def _exchange(make: Any, *how: Any) -> Any:
    return make(*how[:-1], HOST)
