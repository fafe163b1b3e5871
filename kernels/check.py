"""Does a backend really run here? Each check compiles and runs one small kernel."""

import copy
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np
import torch

from spikesim.errors import BackendError
from spikesim.kernels.backends import CUPY_WHEELS, package
from spikesim.surrogate import ATan

if TYPE_CHECKING:
    from spikesim.neuron import Neuron

_PROBE = np.array([0.25, 1.0, 2.0], dtype=np.float32)
_SPIKES = [0.0, 1.0, 1.0]


def check_torch() -> str:
    """A spike and its surrogate gradient on the CPU, through torch autograd."""
    return _spike_on(torch.device("cpu"))


def check_torch_cuda() -> str:
    """A spike and its surrogate gradient on the first CUDA device, through torch autograd."""
    if not torch.cuda.is_available():
        build = torch.version.cuda
        why = "torch was built without CUDA" if build is None else f"no device for CUDA {build}"
        raise BackendError(f"{why}; the CPU serves, or install a CUDA build of torch and a driver")
    return _spike_on(torch.device("cuda"))


def _spike_on(device: torch.device) -> str:
    v = torch.from_numpy(_PROBE.copy()).to(device).requires_grad_()
    spikes = ATan(2.0).spike(v - 1.0)
    (slope,) = torch.autograd.grad(spikes.sum(), v)
    if spikes.tolist() != _SPIKES or slope[1].item() != 1.0:
        raise BackendError(f"torch on {device} gave {spikes.tolist()}, not {_SPIKES}; reinstall it")
    return f"spike and gradient right on {device}"


def check_numba() -> str:
    """One elementwise loop compiled by numba for this CPU."""
    try:
        import numba
    except ImportError as error:
        raise BackendError(f"numba does not load: {error}; pip install numba") from error

    @numba.njit
    def fire(v, out):  # type: ignore[no-untyped-def]
        for i in range(v.size):
            out[i] = 1.0 if v[i] >= 1.0 else 0.0

    spikes = np.full(3, np.nan, dtype=np.float32)
    fire(_PROBE, spikes)
    if spikes.tolist() != _SPIKES:
        raise BackendError(f"numba gave {spikes.tolist()}, not {_SPIKES}; reinstall numba")
    return f"kernel compiled and right, {numba.get_num_threads()} threads"


def check_cupy() -> str:
    """One elementwise CUDA kernel compiled by CuPy for the first device."""
    try:
        import cupy
    except ImportError as error:
        if error.name == "cupy":
            raise BackendError(f"CuPy is not installed; pip install {package('cupy')}") from error
        raise BackendError(f"CuPy does not load: {_reason(error)}; {_cupy_cure()}") from error
    try:
        fire = cupy.ElementwiseKernel("T v", "T s", "s = v >= (T)1 ? 1 : 0", "spikesim_check")
        spikes = fire(cupy.asarray(_PROBE)).get()
        device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    except Exception as error:  # driver, compiler and library errors share no base class
        raise BackendError(
            f"CuPy {cupy.__version__} is installed but runs no kernel: {_reason(error)}; "
            f"{_cupy_cure()}"
        ) from error
    if spikes.tolist() != _SPIKES:
        raise BackendError(f"CuPy gave {spikes.tolist()}, not {_SPIKES}; reinstall CuPy")
    return f"kernel compiled and right on {device}"


def _reason(error: Exception) -> str:
    """The beginning of an error as one line; what follows a semicolon is a cure."""
    return " ".join(str(error).split()).replace(";", ",")[:160]


def _cupy_cure() -> str:
    wanted = package("cupy")
    for wheel in CUPY_WHEELS:
        if wheel != wanted and _is_installed(wheel):
            built = torch.version.cuda or "no CUDA"
            return f"pip uninstall {wheel}, then pip install {wanted}: torch is built for {built}"
    return "check the driver (nvidia-smi)"


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def check_fused(neuron: "Neuron", device: torch.device) -> str:
    """A neuron's fused kernels, forward and backward, against plain torch on the same device.

    Raises:
        BackendError: no kernel runs there, or it gives other spikes or another gradient.
    """
    name = neuron.serving(device)
    plain = copy.deepcopy(neuron)
    plain.backend = "torch"
    probe = torch.tensor([0.25, 1.5, 2.0], device=device).expand(4, 1, 3)
    want, slopes = _differentiated(plain, probe)
    try:
        spikes, got = _differentiated(neuron, probe)
    except BackendError:
        raise
    except Exception as error:  # compiler, driver and library errors share no base class
        raise BackendError(
            f"{name} runs no neuron on {device}: {_reason(error)}; use backend='torch' there"
        ) from error
    if not torch.equal(spikes, want) or not torch.allclose(got, slopes, rtol=1e-5, atol=1e-6):
        raise BackendError(
            f"{name} on {device} gave other spikes or gradients than torch; reinstall "
            f"{package(name)}, or use backend='torch' there"
        )
    return f"{type(neuron).__name__} compiled by {name}, spikes and gradient right"


def _differentiated(neuron: "Neuron", x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    out = neuron(x)
    (slope,) = torch.autograd.grad(out.sum(), x)
    return out.detach(), slope


CHECKS: dict[str, Callable[[], str]] = {
    "torch": check_torch,
    "torch cuda": check_torch_cuda,
    "numba": check_numba,
    "cupy": check_cupy,
}
"""Backend -> a function that says what ran, or raises :class:`BackendError`, ``reason; cure``."""

REQUIRED = ("torch", "numba")
"""Backends that nothing works without."""
