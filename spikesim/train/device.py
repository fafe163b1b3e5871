"""Where and how precisely a run computes: what is asked for either serves or is refused."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.train.config import TrainSettings
from spikesim.world import World

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str, world: World) -> torch.device:
    """The device of this process: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"train.device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise UserError(f"train.device={name}: spikesim trains on cpu and cuda")
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else "; this torch is built without CUDA"
        raise UserError(
            f"train.device={name} asked for, but torch finds no CUDA device here{built}; "
            "see 'spikesim doctor', or use train.device=cpu"
        )
    index = world.local_rank if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise UserError(
            f"train.device={name}: process {world.local_rank} wants CUDA device {index}, there are "
            f"{torch.cuda.device_count()}; start fewer processes"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, amp: str) -> AbstractContextManager[object]:
    """Mixed precision inside, or nothing for ``off``."""
    return torch.autocast(device.type, HALVES[amp]) if amp in HALVES else nullcontext()


def channels_last(x_TBPHW: Tensor) -> Tensor:
    """The same frames with the channels of a pixel side by side in memory."""
    return x_TBPHW.movedim(2, -1).contiguous().movedim(-1, 2)


class Upload:
    """Copies batches to a device while the device works on the step before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` on the device; nothing waits on the host if ``x`` is page-locked."""
        if self.stream is None or x.is_cuda:
            return x.to(self.device)
        now = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            there = x.to(self.device, non_blocking=True)
        now.wait_stream(self.stream)
        there.record_stream(now)
        return there


def prepare(settings: TrainSettings) -> None:
    """Threads and determinism of this process."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    if settings.deterministic:
        # cuBLAS reads it when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if settings.deterministic != torch.are_deterministic_algorithms_enabled():
        # Imports torch's compiler, which takes a second: only where it changes something.
        torch.use_deterministic_algorithms(settings.deterministic)
