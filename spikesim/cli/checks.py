"""What ``spikesim doctor`` looks at: each check gives a state, a detail and, if needed, a cure."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from spikesim.errors import BackendError

PACKAGES = {
    "numpy": "",
    "torch": "",
    "numba": "",
    "tonic": "",
    "matplotlib": "",
    "safetensors": "",
    "tensorboard": "",
    "cupy": "gpu",
    "aedat": "aedat4",
    "spikingjelly": "peers",
    "snntorch": "peers",
    "norse": "peers",
}
"""Package -> the extra that brings it; ``""`` where spikesim cannot do without."""

GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Args:
        section: the heading it stands under.
        name: what was looked at.
        state: ``"ok"``; ``"absent"`` or ``"partial"`` for what is optional; ``"broken"``.
        detail: version, device, folder, or what ran.
        cure: what to do, if anything.
    """

    section: str
    name: str
    state: str
    detail: str
    cure: str = ""


def version_of(package: str) -> str | None:
    """The installed version of ``package``; CuPy has one name per CUDA version."""
    from spikesim.kernels.backends import CUPY_WHEELS

    names = [package, *(CUPY_WHEELS if package == "cupy" else ())]
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def versions() -> Iterator[Check]:
    """Python and every package that spikesim uses."""
    from spikesim import __version__
    from spikesim.kernels.backends import package as package_of

    yield Check("versions", "spikesim", "ok", __version__)
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check("versions", "python", "ok", here)
    for package, extra in PACKAGES.items():
        version = version_of(package)
        if version is not None:
            yield Check("versions", package, "ok", version)
        elif extra:
            what = package_of(package) if package == "cupy" else f'"spikesim[{extra}]"'
            cure = f"only if you need it: pip install {what}"
            yield Check("versions", package, "absent", "not installed", cure)
        else:
            cure = f"pip install {package}"
            yield Check("versions", package, "broken", "not installed", cure)


def devices() -> Iterator[Check]:
    """The processor and each CUDA device."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{cores} cores, torch uses {torch.get_num_threads()} threads"
    yield Check("devices", "cpu", "ok", detail)
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = f"{properties.total_memory / GIB:.0f} GiB"
        detail = f"{properties.name}, {memory}, sm_{properties.major}{properties.minor}"
        yield Check("devices", f"cuda:{index}", "ok", detail)


def backends() -> Iterator[Check]:
    """Each backend, tried by compiling and running one small kernel."""
    from spikesim.kernels.check import CHECKS, REQUIRED

    for name, check in CHECKS.items():
        try:
            yield Check("backends", name, "ok", check())
        except BackendError as error:
            state = "broken" if name in REQUIRED else "absent"
            reason, _, cure = str(error).partition("; ")
            yield Check("backends", name, state, reason, cure)


def neurons() -> Iterator[Check]:
    """What runs the neurons on each device, tried by one fused neuron, forward and backward."""
    import torch

    from spikesim.kernels.backends import OF_DEVICE, package, serving
    from spikesim.kernels.check import check_fused
    from spikesim.neurons.lif import LIF

    cuda = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    for device in (torch.device("cpu"), *cuda):
        name, row = serving("auto", device.type), f"neurons on {device}"
        if name == "torch":
            cure = f"pip install {package(OF_DEVICE[device.type])} for fused kernels"
            yield Check("neurons", row, "absent", "backend auto is torch: none is fused", cure)
            continue
        try:
            detail = f"backend auto is {name}: {check_fused(LIF(), device)}"
            yield Check("neurons", row, "ok", detail)
        except BackendError as error:
            reason, _, cure = str(error).partition("; ")
            yield Check("neurons", row, "broken", f"backend auto is {name}: {reason}", cure)


def datasets() -> Iterator[Check]:
    """Each dataset: on this machine or not."""
    from spikesim import datasets as known
    from spikesim.cli.datasets import presence

    for name in known.names():
        found = presence(name)
        if not found.root:
            continue  # the user's own recordings have no default place
        state = {"here": "ok", "absent": "absent"}.get(found.words, "partial")
        yield Check("datasets", name, state, found.root, found.cure)


def disk(folders: dict[str, Path]) -> Iterator[Check]:
    """Free space where runs and packed recordings are written."""
    for name, folder in folders.items():
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        detail = f"{free / GIB:.1f} GiB free at {folder}"
        if not os.access(existing, os.W_OK):
            yield Check("disk", name, "broken", f"{folder} cannot be written", "check its rights")
        elif free < GIB:
            cure = "a default run needs about 0.1 GiB, a large dataset tens: free some space"
            yield Check("disk", name, "broken", detail, cure)
        else:
            yield Check("disk", name, "ok", detail)


def run_all() -> list[Check]:
    """All checks, in the order of their sections."""
    from spikesim.files import cache_folder

    folders = {"runs": Path("runs").absolute(), "cache": cache_folder()}
    return [*versions(), *devices(), *backends(), *neurons(), *datasets(), *disk(folders)]
