"""Counters of energy that a machine has: NVML of a GPU, RAPL of processors and their memory.

Reference: NVIDIA, NVML API, ``nvmlDeviceGetTotalEnergyConsumption`` (millijoule since the driver
was loaded, Volta and later); Linux kernel, Power Capping Framework (``energy_uj``,
``max_energy_range_uj``).
"""

import ctypes
from pathlib import Path
from typing import Any, Protocol

import torch

from spikesim.errors import UserError

POWERCAP = Path("/sys/class/powercap")
LIBRARY = "libnvidia-ml.so.1"
"""Part of the driver."""


class Meter(Protocol):
    """A counter that only grows.

    Attributes:
        name: of what it meters.
    """

    name: str

    def joules(self) -> float:
        """Since the meter was made."""
        ...


class NVML:
    """The counter of a CUDA device, by the driver's own library.

    Raises:
        UserError: no device, no library, or no such counter.
    """

    def __init__(self, device: torch.device) -> None:
        if not torch.cuda.is_available():
            raise UserError("no CUDA device here")
        self.name = f"GPU ({torch.cuda.get_device_name(device)})"
        # By its identifier: numbers of CUDA devices may be hidden or in another order.
        identifier = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
        self._handle = ctypes.c_void_p()
        try:
            self._library = ctypes.CDLL(LIBRARY)
            self._ask("nvmlInit_v2")
            self._ask("nvmlDeviceGetHandleByUUID", identifier, ctypes.byref(self._handle))
            self._start = self._millijoules()
        except (OSError, AttributeError) as error:
            raise UserError(f"{self.name} has no energy counter: {error}") from None

    def joules(self) -> float:
        """Since the meter was made."""
        return (self._millijoules() - self._start) / 1e3

    def _millijoules(self) -> int:
        total = ctypes.c_ulonglong()
        self._ask("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(total))
        return total.value

    def _ask(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = self._library.nvmlErrorString
            text.restype = ctypes.c_char_p
            raise OSError(f"{name}: {(text(code) or b'').decode()} ({code})")


class RAPL:
    """Packages and memory of the processors, all of them together.

    A counter begins anew at its range, after a minute at the least: it has to be read more often.

    Args:
        folder: of the power capping framework.

    Raises:
        UserError: no counters, or none that may be read.
    """

    name = "CPU and its memory (RAPL)"

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if _is_own(zone)]
        if not self._zones:
            raise UserError(f"no RAPL counters in {folder}")
        try:
            self._ranges = [_number(zone / "max_energy_range_uj") for zone in self._zones]
            self._last = self._read()
        except OSError as error:
            raise UserError(
                f"RAPL counters may not be read ({error.strerror}: {error.filename}); run as root, "
                "or let your user read energy_uj"
            ) from None
        self._total = 0

    def joules(self) -> float:
        """Since the meter was made."""
        now = self._read()
        for last, new, size in zip(self._last, now, self._ranges, strict=True):
            self._total += new - last if new >= last else new - last + size
        self._last = now
        return self._total / 1e6

    def _read(self) -> list[int]:
        return [_number(zone / "energy_uj") for zone in self._zones]


def available(device: torch.device) -> tuple[list[Meter], dict[str, str]]:
    """Meters of a device and of the processors; and for each that is missing the reason."""
    found: list[Meter] = []
    missing = dict[str, str]()
    if device.type == "cuda":
        try:
            found.append(NVML(device))
        except UserError as error:
            missing["GPU"] = str(error)
    try:
        found.append(RAPL())
    except UserError as error:
        missing["CPU"] = str(error)
    return found, missing


def _is_own(zone: Path) -> bool:
    """Packages and memory; cores are part of a package, ``psys`` holds all of them."""
    try:
        name = (zone / "name").read_text().strip()
    except OSError:
        return False
    return name.startswith("package") or name == "dram"


def _number(file: Path) -> int:
    return int(file.read_text())
