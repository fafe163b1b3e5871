"""CUDA text through CuPy: compiled once per text and device, launched on torch's current stream."""

import hashlib
from functools import cache
from typing import Any

import numpy as np
import torch

from spikesim.errors import BackendError
from spikesim.kernels.store import kept

# CuPy's own compilation appends -ftz=true, with which a membrane that decays stops at 1e-38.
OPTIONS = ("-std=c++17", "-ftz=false", "-prec-div=true", "-prec-sqrt=true")


def _compiled(text: str, architecture: str) -> bytes:
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(text, "spikesim.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"-arch=sm_{architecture}"))
        binary: bytes = nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        raise RuntimeError(f"CUDA text does not compile: {nvrtc.getProgramLog(program)}") from error
    finally:
        nvrtc.destroyProgram(program)
    return binary


class Module:
    """CUDA text, compiled for each device it runs on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._functions: dict[tuple[str, int], Any] = {}

    def function(self, name: str, index: int) -> Any:
        """A kernel, loaded on the device ``index``, which is the current one."""
        found = self._functions.get((name, index))
        if found is None:
            import cupy
            from cupy.cuda import nvrtc

            architecture = cupy.cuda.Device(index).compute_capability
            made_of = (self._text, architecture, OPTIONS, nvrtc.getVersion())
            key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]
            path = kept(f"cuda-{key}.cubin", lambda: _compiled(self._text, architecture))
            found = cupy.RawModule(path=str(path)).get_function(name).kernel
            self._functions[name, index] = found
        return found

    def launch(
        self,
        name: str,
        device: torch.device,
        grid: int,
        block: int,
        arguments: Any,
        shared: int = 0,
    ) -> None:
        """Launch on the current stream of ``device``.

        ``arguments``, bytes or a numpy array, is the one struct that the kernel takes by value.
        """
        current = torch._C._cuda_getDevice()
        index = current if device.index is None else device.index
        if index != current:
            with torch.cuda.device(index):
                self.launch(name, device, grid, block, arguments, shared)
            return
        # CuPy passes a numpy array of one element by value.
        whole = np.frombuffer(arguments, f"V{memoryview(arguments).nbytes}")
        # The pointer of torch.cuda.current_stream(index), without making the object.
        stream = Stream(torch._C._cuda_getCurrentRawStream(index))
        self.function(name, index)((grid,), (block,), (whole,), shared, stream)


class Stream:
    """All that CuPy asks of a stream to launch on."""

    __slots__ = ("ptr",)

    def __init__(self, pointer: int) -> None:
        self.ptr = pointer


@cache
def module(text: str) -> Module:
    """The module of a text."""
    return Module(text)


def check_available() -> None:
    """Raise unless CuPy can run kernels here.

    Raises:
        BackendError: CuPy is missing, or built for another CUDA than the driver's.
    """
    reason = _why_not()
    if reason is not None:
        raise BackendError(reason)


@cache
def _why_not() -> str | None:
    from spikesim.kernels.check import check_cupy

    try:
        check_cupy()
    except BackendError as error:
        return f"backend 'cupy' cannot serve: {error}, or use backend='torch'"
    return None
