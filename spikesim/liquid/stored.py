"""Spike counts of many stimuli in a folder, part by part, so that a long run can be resumed.

The name of a file holds a digest of what its content depends on: the liquid, the settings, and the
first of the stimuli. Whatever else is in the folder is left alone.
"""

from collections.abc import Callable
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    """As :meth:`AstrocyteLiquid.settle`, or with the weights that the folder holds already."""
    path = folder / f"weight-{_digest(liquid, stimuli, steps, snapshots, seed)}.npy"
    if path.exists():
        liquid.weight = np.load(path)
    else:
        liquid.settle(stimuli, snapshots, steps=steps, seed=seed)
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
        liquid: as it is, settled or not.
        stimuli: to be shown.
        folder: made if it is not there.
        name: of these stimuli among others of the folder, such as ``"train"``.
        steps: ms.
        part: stimuli a file.
        threads: of this process.
        told: after each part, how many stimuli are done, of how many.
    """
    digest = _digest(liquid, stimuli, steps)
    parts = [np.empty((0, liquid.wiring.neurons), np.int32)]
    for start in range(0, len(stimuli), part):
        numbers = range(start, min(start + part, len(stimuli)))
        path = folder / f"{name}-{digest}-{start:06d}-{numbers.stop:06d}.npy"
        if path.exists():
            parts.append(np.load(path).astype(np.int32))
        else:
            parts.append(liquid.counts(stimuli, numbers, steps=steps, threads=threads))
            _write(path, parts[-1].astype(np.uint16))
        if told is not None:
            told(numbers.stop, len(stimuli))
    return np.concatenate(parts)


def _digest(liquid: AstrocyteLiquid, stimuli: Stimuli, steps: int, *settings: int) -> str:
    wiring, first = liquid.wiring, stimuli.show(0, steps) if len(stimuli) else ()
    arrays = (wiring.indptr, wiring.target, wiring.inhibitory, liquid.weight, *first)
    found = blake2b(repr((liquid.constants, len(stimuli), steps, *settings)).encode())
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()[:12]


def _write(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    np.save(content, values)
    write_atomic(path, content.getvalue())
