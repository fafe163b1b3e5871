"""Gather what a report shows from a run's folder, its model and its recordings."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from spikesim.energy import estimate
from spikesim.errors import UserError
from spikesim.probe import evaluating, record
from spikesim.readout import readout
from spikesim.report.data import Clip, ReportData
from spikesim.train.device import choose_device
from spikesim.train.outcome import ENERGY_MODELS, energy_recordings
from spikesim.train.run import Run
from spikesim.world import World

if TYPE_CHECKING:
    from spikesim.datasets import EventDataset

CLIPS = 8
MOST_WRONG = 3
LOOKED_AT = 96
"""Recordings that are run, at most, in search of a wrong answer to show."""
BATCH = 16
TRACED = 2
"""Neurons per layer whose membrane is drawn."""

_Found = TypeVar("_Found")
_LIVE = ("clips", "raster", "traces")
"""Sections that need the model and recordings."""


def collect(run: Run) -> ReportData:
    """Everything a page shows; what cannot be had is named in ``notes`` with the reason.

    A run that did not finish is shown on its training recordings: the test split is read at the
    end of a training, not before.
    """
    notes: dict[str, str] = {}
    result = _or_note(lambda: run.result, notes, "result")
    if result is None and "result" not in notes:
        notes["result"] = (
            "This run has not finished; continue it with --resume. What is below shows it so far, "
            "on its training recordings."
        )
    metrics = _or_note(run.metrics, notes, "curves") or []
    if not metrics and "curves" not in notes:
        notes["curves"] = "No epoch is finished yet."
    split = "train" if result is None else "test"
    data = ReportData(
        name=run.path.resolve().name,
        config=run.config.to_dict(),
        metrics=metrics,
        result={} if result is None else result.to_dict(),
        classes=() if result is None else result.classes,
        confusion=None if result is None else np.asarray(result.confusion),
        energy=None if result is None else result.energy,
        beside=() if result is None else tuple(_runs_beside(run)),
        notes=notes,
    )
    if result is None:
        notes["confusion"] = "Known at the end of the training."
    model = _or_note(run.model, notes, *_LIVE)
    dataset = _or_note(lambda: run.dataset(split), notes, *_LIVE) if model is not None else None
    return data if model is None or dataset is None else _look(data, run, model, dataset)


def _runs_beside(run: Run) -> list[dict[str, Any]]:
    """Finished runs in the same folder on the same data, with accuracy and energy."""
    found = []
    for path in sorted(run.path.resolve().parent.glob("*/config.yaml")):
        try:
            other = Run(path.parent)
            result, data = other.result, other.config.data
        except (UserError, OSError):
            continue  # damaged or half written: it is none of this run's
        if result is not None and data.name == run.config.data.name:
            one = {"name": path.parent.name, "accuracy": result.accuracy}
            found.append({**one, "interval": result.interval, "energy": result.energy})
    return found


def _look(data: ReportData, run: Run, model: nn.Module, dataset: "EventDataset") -> ReportData:
    """Add what the model does on recordings."""
    config = run.config
    asked = config.train.device
    model.to(choose_device("cpu" if asked == "cpu" else "auto", World()))
    shown, right = _clips(model, dataset, config.train.readout)
    weight = next(model.parameters())
    x, _ = dataset.__getitems__([right])
    assert isinstance(x, Tensor)
    counted = estimate(model, energy_recordings(model, dataset), models=ENERGY_MODELS).to_dict()
    return replace(
        data,
        classes=tuple(map(str, dataset.classes)),
        clips=shown,
        recording=record(model, x.to(weight), traces=TRACED),
        energy={**counted, **(data.energy or {})},
    )


def _clips(model: nn.Module, dataset: "EventDataset", kind: str) -> tuple[list[Clip], int]:
    """Some recordings, wrong answers among them if any; and the index of one to look into."""
    weight = next(model.parameters())
    drawn = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:LOOKED_AT]
    right: dict[int, Clip] = {}
    wrong: dict[int, Clip] = {}
    with evaluating(model):
        for first in range(0, len(drawn), BATCH):
            indices = drawn[first : first + BATCH].tolist()
            x, y = dataset.__getitems__(indices)
            assert isinstance(x, Tensor)
            logits = model(x.to(weight)).float().cpu()
            # What the readout says of the steps so far, after each step: [T, B, K].
            partial = torch.stack([readout(logits[: t + 1], kind) for t in range(len(logits))])
            evidence, answers = partial.softmax(-1).numpy(), partial[-1].argmax(1)
            for b, index in enumerate(indices):
                truth, answer = int(y[b]), int(answers[b])
                kept = right if truth == answer else wrong
                if len(kept) < (CLIPS if truth == answer else MOST_WRONG):
                    title = f"recording {index}"
                    kept[index] = Clip(x[:, b].numpy(), truth, answer, evidence[:, b], title)
            if wrong and len(right) + len(wrong) >= CLIPS:
                break
    shown = dict(list(right.items())[: CLIPS - len(wrong)]) | wrong
    looked_into = min(right or wrong)
    return [shown[index] for index in sorted(shown)], looked_into


def _or_note(get: Callable[[], _Found], notes: dict[str, str], *sections: str) -> _Found | None:
    """What ``get`` gives; if it cannot, ``None`` and its reason as a note of the sections."""
    try:
        return get()
    except (UserError, OSError) as error:
        notes.update(dict.fromkeys(sections, f"Cannot be shown: {error}"))
        return None
