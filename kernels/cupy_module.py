"""CUDA text through CuPy: compiled once per text and device, launched on torch's current stream."""

import ctypes
import hashlib
from functools import cache
from typing import Any

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
        packed = ByValue(bytes(arguments))
        start(self.function(name, index), index, (grid,), (block,), packed, shared)


class ByValue:
    """What a kernel takes by value: its one struct.

    CuPy takes a numpy array too, but is slow to find out where it lies.
    """

    __slots__ = ("packed", "pointers")

    def __init__(self, packed: bytes) -> None:
        self.packed = bytearray(packed)
        """May be changed between launches."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.packed))
        self.pointers = (_pointer()(address),)


@cache
def _pointer() -> Any:
    from cupy.cuda.function import CPointer

    return CPointer


def start(
    function: Any,
    index: int,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    arguments: ByValue,
    shared: int = 0,
) -> None:
    """Launch a kernel on torch's current stream of the device ``index``, the current one."""
    # The pointer of torch.cuda.current_stream(index), without making the object.
    stream = _stream(torch._C._cuda_getCurrentRawStream(index))
    function(grid, block, arguments.pointers, shared, stream)


class _Stream:
    """All that CuPy asks of a stream to launch on."""

    __slots__ = ("ptr",)

    def __init__(self, pointer: int) -> None:
        self.ptr = pointer


_stream = cache(_Stream)


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
