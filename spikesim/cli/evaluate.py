"""``spikesim eval``: a trained run on a split of its dataset."""

from typing import Annotated

import typer
from rich.console import Group

from spikesim.cli.result import accuracy_line
from spikesim.cli.run import Device, RunName, find_run
from spikesim.cli.screen import Json, progress_aside, show, table


def evaluate(
    run: RunName,
    split: Annotated[str, typer.Option("--split", help="A part of the run's dataset.")] = "test",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Accuracy of a trained run with its 95 % interval (Wilson), per class too.

    Changes nothing in the run's folder.
    """
    with progress_aside(as_json):
        from spikesim.train import evaluate as evaluation
        from spikesim.train.device import choose_device
        from spikesim.world import World

        found = find_run(run)
        train = found.config.train
        model = found.model().to(choose_device(device, World()))
        dataset = found.dataset(split)
        measured = evaluation.evaluate(model, dataset, readout=train.readout, amp=train.amp)
    confusion = measured.confusion.tolist()
    document = {
        "run": str(found.path),
        "split": split,
        "accuracy": measured.accuracy,
        "interval": list(measured.interval),
        "correct": measured.correct,
        "total": measured.total,
        "loss": measured.loss,
        "classes": list(dataset.classes),
        "confusion": confusion,
    }
    rows = [
        (name, sum(row), row[label], f"{100 * row[label] / max(sum(row), 1):.1f} %")
        for label, (name, row) in enumerate(zip(dataset.classes, confusion, strict=True))
    ]
    columns = ("class", "recordings", "right", "accuracy")
    text = Group(f"{split} {accuracy_line(document)}\n", table(columns, rows))
    show(document, text, as_json)
