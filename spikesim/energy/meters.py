"""Counters of energy that a machine has: NVML of a GPU, RAPL of processors and their memory.

Reference: NVIDIA, NVML API, ``nvmlDeviceGetTotalEnergyConsumption`` (millijoule since the driver
was loaded, Volta and later); Linux kernel, Power Capping Framework (``energy_uj``,
``max_energy_range_uj``).
"""

import importlib
from pathlib import Path
from typing import Any, Protocol

import torch

from spikesim.errors import UserError

POWERCAP = Path("/sys/class/powercap")


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
    """The counter of a CUDA device.

    Raises:
        UserError: no device, no package, or no such counter.
    """

    def __init__(self, device: torch.device) -> None:
        if not torch.cuda.is_available():
            raise UserError("no CUDA device here")
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError:
            raise UserError("no package pynvml: pip install nvidia-ml-py") from None
        self.name = f"GPU ({torch.cuda.get_device_name(device)})"
        # By its identifier: numbers of CUDA devices may be hidden or in another order.
        identifier = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        try:
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(identifier)
            self._start = self._millijoules()
        except self._nvml.NVMLError as error:
            raise UserError(f"{self.name} has no energy counter: {error}") from None

    def joules(self) -> float:
        """Since the meter was made."""
        return (self._millijoules() - self._start) / 1e3

    def _millijoules(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


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
