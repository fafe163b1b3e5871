"""Checkpoints: safetensors and JSON, whole or absent, checked by hash.

``checkpoint/step-00000042/`` holds ``model.safetensors``, ``optimizer.safetensors``, perhaps
``ema.safetensors`` and ``best.safetensors``, and ``state.json`` with the position of the run and
the SHA-256 of each file. A checkpoint is written beside the others and renamed when it is on the
disk; the previous one stays until then, and one more is kept in case the newest is damaged later.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from spikesim.errors import UserError
from spikesim.files import sync_folder, write_synced

KEPT = 2
_PREFIX = "step-"
_TEMPORARY = ".new"


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint.

    Attributes:
        state: position of the run, JSON values.
        tensors: group (``model``, ``optimizer``, ``ema``, ``best``) -> name -> tensor.
        damaged: why a newer checkpoint was passed over; empty if there was none.
    """

    state: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]
    damaged: str = ""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights that a finished run is judged by: the best, the averaged, or the last."""
        for group in ("best", "ema"):
            if group in self.tensors:
                return self.tensors[group]
        return self.tensors["model"]


def save_checkpoint(
    folder: Path, step: int, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]
) -> Path:
    """Write a checkpoint and drop the oldest ones.

    Raises:
        OSError: with the folder and a cure, when the disk is full or cannot be written; the
            checkpoints before are untouched.
    """
    target = folder / f"{_PREFIX}{step:08d}"
    temporary = folder / _TEMPORARY
    try:
        # What a killed run left half written.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        hashes = {}
        for group, named in tensors.items():
            data = save_tensors({k: v.detach().cpu().contiguous() for k, v in named.items()})
            hashes[group] = sha256(data).hexdigest()
            write_synced(temporary / f"{group}.safetensors", data)
        content = {**state, "step": step}
        text = json.dumps({"sha256": hashes, "state_sha256": _hash(content), "state": content})
        write_synced(temporary / "state.json", text.encode())
        sync_folder(temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OSError(
            error.errno,
            f"{error.strerror}: the checkpoint of step {step} was not written, those before it are "
            "whole; mend that and go on with --resume",
            str(folder),
        ) from error
    for old in _folders(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint, or ``None`` where none was ever finished.

    A damaged one is passed over; ``damaged`` says so.

    Raises:
        UserError: there are checkpoints, and all are damaged.
    """
    problems = []
    for path in _folders(folder):
        try:
            state, tensors = _read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{path.name} is damaged ({error})")
            continue
        return Checkpoint(state, tensors, "; ".join(problems))
    if problems:
        raise UserError(
            f"no whole checkpoint in {folder}: {'; '.join(problems)}; "
            "restore it from a copy, or train again under another run.name"
        )
    return None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    document = json.loads((path / "state.json").read_text(encoding="utf-8"))
    state: dict[str, Any] = document["state"]
    if _hash(state) != document["state_sha256"]:
        raise ValueError("state.json does not match its checksum")
    tensors = {}
    for group, expected in document["sha256"].items():
        data = (path / f"{group}.safetensors").read_bytes()
        found = sha256(data).hexdigest()
        if found != expected:
            raise ValueError(
                f"{group}.safetensors has sha256 {found[:12]}..., expected {expected[:12]}..."
            )
        tensors[group] = load_tensors(data)
    return state, tensors


def _hash(state: Mapping[str, Any]) -> str:
    return sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _folders(folder: Path) -> list[Path]:
    """Finished checkpoints, newest first."""
    return sorted(folder.glob(f"{_PREFIX}*"), reverse=True)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a model.

    Raises:
        UserError: names or shapes differ; the first difference is named.
    """
    own = model.state_dict()
    for problem in _differences(own, weights):
        raise UserError(
            f"the weights of {source} do not fit this model: {problem}; "
            "use the model settings the run was trained with"
        )
    model.load_state_dict(dict(weights))


def _differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for name, value in own.items():
        if name not in given:
            yield f"{name} is missing"
        elif given[name].shape != value.shape:
            yield f"{name} is {list(given[name].shape)}, the model has {list(value.shape)}"
    for name in given:
        if name not in own:
            yield f"{name} is not part of the model"


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as named tensors ``<parameter number>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, own in state.items() for name, value in own.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave; groups and rates stay those of the recipe."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for full, value in tensors.items():
        number, _, name = full.partition(".")
        weight = weights[int(number)]
        if value.shape == weight.shape:
            # Fused steps take weights and averages to lie alike in memory (channels last).
            value = torch.empty_like(weight, dtype=value.dtype).copy_(value)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
