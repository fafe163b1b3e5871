"""Which backend runs: what was asked for, or an error that says why not."""

from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch

from spikesim.errors import BackendError, UserError
from spikesim.kernels.call import Backend

BackendName = Literal["auto", "torch", "numba", "cupy"]
"""``"auto"``: cupy for CUDA tensors and numba on the CPU, torch where these are not installed."""

NAMES: tuple[BackendName, ...] = ("auto", "torch", "numba", "cupy")
INSTALLED = tuple(name for name in ("numba", "cupy") if find_spec(name) is not None)
CUPY_WHEELS = ("cupy-cuda13x", "cupy-cuda12x", "cupy-cuda11x")
OF_DEVICE = {"cpu": "numba", "cuda": "cupy"}
"""Type of device -> the backend with kernels for it."""


def check_name(name: str) -> None:
    """Raise unless ``name`` is a backend."""
    if name not in NAMES:
        raise UserError(f"backend must be one of {', '.join(NAMES)}, got {name!r}")


def package(name: str) -> str:
    """What to install for a backend; CuPy has a package for each CUDA that torch is built with."""
    return f"cupy-cuda{(torch.version.cuda or '13').split('.')[0]}x" if name == "cupy" else name


def serving(name: str, device_type: str) -> str:
    """The backend that serves tensors of a device: ``"torch"``, ``"numba"`` or ``"cupy"``.

    Raises:
        BackendError: a named backend cannot serve that device, or is not installed.
    """
    own = OF_DEVICE.get(device_type)
    if name == "auto":
        return own if own is not None and own in INSTALLED else "torch"
    if name == "torch":
        return name
    if name != own:
        there = f"backend='{own}' or 'auto'" if own else "backend='torch'"
        raise BackendError(f"backend {name!r} does not serve {device_type} tensors; use {there}")
    if name not in INSTALLED:
        raise BackendError(f"backend {name!r} is not installed; pip install {package(name)}")
    return name


@cache
def backend(name: str) -> Backend:
    """The implementation of a named backend.

    Raises:
        BackendError: it is not installed or runs no kernel here.
    """
    if name == "cupy":
        from spikesim.kernels.cupy_backend import CupyBackend
        from spikesim.kernels.cupy_module import check_available

        check_available()
        return CupyBackend()
    from spikesim.kernels.numba_backend import NumbaBackend

    return NumbaBackend()


def ready(name: str, device_type: str) -> str:
    """The backend that serves tensors of a device, for people, once it is known to run here.

    Raises:
        BackendError: it cannot serve.
    """
    chosen = serving(name, device_type)
    if chosen != "torch":
        backend(chosen)
    return f"{chosen} (auto)" if name == "auto" else chosen


def describe(name: str) -> str:
    """A backend's name for ``print(model)``, with what ``"auto"`` stands for here."""
    if name != "auto":
        return name
    chosen = {device: serving("auto", device) for device in ("cpu", "cuda")}
    if not torch.cuda.is_available():
        return f"auto ({chosen['cpu']})"
    return f"auto ({chosen['cuda']} on CUDA, {chosen['cpu']} on the CPU)"
