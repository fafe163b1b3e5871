"""Train a model as a recipe says, so that a run killed at any moment can go on."""

from typing import Any

import torch

from spikesim.errors import Stopped, UserError
from spikesim.kernels.backends import ready
from spikesim.train.config import Config
from spikesim.train.device import choose_device, prepare
from spikesim.train.progress import Screen
from spikesim.train.run import Result, Run
from spikesim.train.stopping import stopped_by_signal
from spikesim.train.training import Training, write_report
from spikesim.world import World, process_group, world_from_environment

FREE_ON_RESUME = {
    "run.dir", "data.root", "data.workers", "train.device", "train.threads", "train.report",
    "train.checkpoint_steps", "train.checkpoint_seconds", "train.tensorboard", "train.cuda_graph",
    "train.backend", "train.pack_spikes",
}  # fmt: skip
"""Settings that may differ when a run is continued: they change the weights by rounding at most."""


def train(config: Config, *, resume: bool = False) -> Result:
    """Train a run to its end and judge it on the test split.

    Under ``torchrun`` the same call trains on all processes. With ``resume`` the run in
    ``config.run.path`` continues from its newest whole checkpoint; on the CPU its weights end
    bit for bit as those of a run that was never stopped.

    Raises:
        UserError: settings, data or folder do not fit; nothing is overwritten.
        BackendError: ``train.backend`` cannot serve here.
        Stopped: the run was told to stop, or lost one of its processes.
    """
    world = world_from_environment()
    screen = Screen(speaks=world.is_first)
    device = choose_device(config.train.device, world)
    prepare(config.train)
    chosen = f"{device} (auto)" if config.train.device == "auto" else str(device)
    kernels = ready(config.train.backend, device.type)
    screen.say(f"run {config.run.path}  device {chosen}  backend {kernels}  processes {world.size}")
    with stopped_by_signal(), process_group(world, device):
        try:
            if resume:
                run = _run_to_continue(config)
                if run.result is not None:
                    screen.say(f"{run.path} is finished: nothing to resume")
                    # It may have been killed between its result and its report.
                    wanted = world.is_first and config.train.report
                    if wanted and not (run.path / "report.html").is_file():
                        write_report(run, screen)
                    return run.result
            else:
                Run.refuse_existing(config.run.path)
            # Data and model first: a mistake in them leaves no folder behind.
            training = Training(config, world, device, screen)
            if not resume and world.is_first:
                Run.create(config)
            world.wait()
            training.open(Run(config.run.path))
            return training.run_to_end()
        except RuntimeError as error:
            lost = _what_was_lost(error, world)
            if not lost:
                raise
            raise Stopped(
                f"process {world.rank} of {world.size} {lost}; run the same command with --resume "
                f"to go on from the last checkpoint in {config.run.path}"
            ) from error
        finally:
            screen.stop()


def _run_to_continue(config: Config) -> Run:
    """The run in the folder of the settings, if it was started with the same ones."""
    run = Run(config.run.path)
    old, new = _flat(run.config.to_dict()), _flat(config.to_dict())
    for name in sorted(old.keys() | new.keys()):
        if name not in FREE_ON_RESUME and old.get(name) != new.get(name):
            raise UserError(
                f"{name}={new.get(name)} but the run was started with {old.get(name)}; resume with "
                "the same settings, or start another run.name"
            )
    return run


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        full = f"{prefix}{name}"
        flat.update(_flat(value, f"{full}.") if isinstance(value, dict) else {full: value})
    return flat


def _what_was_lost(error: RuntimeError, world: World) -> str:
    """Which process is gone, in words; empty where the error has another cause."""
    words = str(error).lower()
    if "dataloader worker" in words:
        return f"lost one that prepares its batches ({str(error).strip()})"
    marks = ("gloo", "nccl", "connection closed", "connection reset", "process group")
    lost = isinstance(error, torch.distributed.DistBackendError) or any(m in words for m in marks)
    return "lost contact with another process, which ended" if lost and world.size > 1 else ""
