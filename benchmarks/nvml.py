"""A GPU's total energy counter, by NVML's own library: no package is needed beside the driver."""

import ctypes
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import Run

SECONDS = 3.5
"""A window. The counter moves every 20 to 100 ms, so that this is exact to a few percent."""


class Meter:
    """Joules that a device has taken.

    Raises:
        OSError: there is no NVML, or no counter on this device.
    """

    def __init__(self, device: torch.device) -> None:
        self._nvml = ctypes.CDLL("libnvidia-ml.so.1")
        self._ask("nvmlInit_v2")
        self._handle = ctypes.c_void_p()
        name = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
        self._ask("nvmlDeviceGetHandleByUUID", name, ctypes.byref(self._handle))
        self.joules()

    def joules(self) -> float:
        """Since the driver was loaded."""
        total = ctypes.c_ulonglong()
        self._ask("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(total))
        return total.value * 1e-3

    def _ask(self, name: str, *arguments: Any) -> None:
        code = getattr(self._nvml, name)(*arguments)
        if code:
            raise OSError(f"NVML: {name} gave {code}")


def window(meter: Meter, work: Callable[[], object] | None, run: Run) -> dict[str, Any]:
    """Calls of ``work``, or nothing at all, for a few seconds: calls, seconds and joules."""
    seconds = 0.2 if run.quick else SECONDS
    run.wait()
    calls, before, start = 0, meter.joules(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        if work is None:
            time.sleep(0.05)
            continue
        for _ in range(8):
            work()
        run.wait()
        calls += 8
    spent, joules = time.perf_counter() - start, meter.joules() - before
    return {"calls": calls, "seconds": round(spent, 4), "joules": round(joules, 3)}


def of_call(found: dict[str, Any], idle: dict[str, Any]) -> dict[str, Any]:
    """Joules of a call, whole and above an idle device, and the power that it draws."""
    watts, calls = idle["joules"] / idle["seconds"], found["calls"]
    above = found["joules"] - watts * found["seconds"]
    return found | {
        "joules_per_call": round(found["joules"] / calls, 5),
        "joules_per_call_above_idle": round(above / calls, 5),
        "watts": round(found["joules"] / found["seconds"], 1),
        "idle_watts": round(watts, 1),
    }
