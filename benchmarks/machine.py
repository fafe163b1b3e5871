"""Where and with what a benchmark ran."""

import os
import platform
import re
import subprocess
from importlib import metadata
from typing import Any

import torch

import spikesim

PACKAGES = ("numba", "cupy-cuda13x", "triton", "spikingjelly", "snntorch", "norse", "numpy")


def versions() -> dict[str, str]:
    """Of Python, torch, this package and what it is compared with."""
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spikesim": spikesim.__version__,
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, and the GPU with its software where one is measured."""
    found: dict[str, Any] = {"processor": processor(), "cores": os.cpu_count()}
    if device.type != "cuda":
        return found | {"threads": torch.get_num_threads()}
    return found | {
        "gpu": torch.cuda.get_device_name(device),
        "driver": driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def driver() -> str:
    """The version of the GPU's driver."""
    try:
        with open("/proc/driver/nvidia/version") as file:
            found = re.search(r"\d+(\.\d+)+", file.readline())
            if found is not None:
                return found.group()
    except OSError:
        pass
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.split()[0]
