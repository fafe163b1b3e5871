"""Spike counts of many stimuli in a folder, part by part, so that a long run can be resumed."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.files import write_atomic
from spikesim.liquid.nalsm import AstrocyteLiquid
from spikesim.liquid.stimuli import Stimuli

__all__ = ["settled", "stored_counts"]


def settled(
    liquid: AstrocyteLiquid,
    stimuli: Stimuli,
    folder: Path,
    snapshots: int = 50_000,
    *,
    steps: int = 20,
    seed: int = 0,
) -> None:
    """As :meth:`AstrocyteLiquid.settle`, or with the weights that the folder holds already.

    Raises:
        UserError: those are of another liquid.
    """
    path = folder / "weight.npy"
    if path.exists():
        weight = np.load(path)
        if weight.shape != liquid.weight.shape or weight.dtype != np.float32:
            raise UserError(f"{path}: weights of another liquid; choose another folder")
        liquid.weight = weight
        return
    liquid.settle(stimuli, snapshots, steps=steps, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    _write(path, liquid.weight)


def stored_counts(
    liquid: AstrocyteLiquid,
    stimuli: Stimuli,
    folder: Path,
    name: str,
    *,
    steps: int = 250,
    part: int = 1000,
    threads: int = 1,
    told: Callable[[int, int], None] | None = None,
) -> NDArray[np.int32]:
    """As :meth:`AstrocyteLiquid.counts` of all stimuli; parts that the folder holds are read.

    Args:
        liquid: with the weights that :func:`settled` keeps in the same folder.
        stimuli: to be shown.
        folder: made if it is not there.
        name: of these stimuli among others of the folder, such as ``"train"``.
        steps: ms.
        part: stimuli a file.
        threads: of this process.
        told: after each part, how many stimuli are done, of how many.

    Raises:
        UserError: a file is of other stimuli.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [np.empty((0, liquid.wiring.neurons), np.int32)]
    for start in range(0, len(stimuli), part):
        numbers = range(start, min(start + part, len(stimuli)))
        path = folder / f"{name}-{start:06d}.npy"
        if path.exists():
            parts.append(np.load(path).astype(np.int32))
            if parts[-1].shape != (len(numbers), liquid.wiring.neurons):
                raise UserError(f"{path}: not counts of these stimuli; choose another folder")
        else:
            parts.append(liquid.counts(stimuli, numbers, steps=steps, threads=threads))
            _write(path, parts[-1].astype(np.uint16))
        if told is not None:
            told(numbers.stop, len(stimuli))
    return np.concatenate(parts)


def _write(path: Path, values: NDArray[np.generic]) -> None:
    content = BytesIO()
    np.save(content, values)
    write_atomic(path, content.getvalue())
