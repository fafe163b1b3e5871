"""``spikesim predict``: a trained run on recording files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikesim.cli.group import MISTAKE
from spikesim.cli.run import Device, RunName, find_run
from spikesim.cli.screen import Json, error_line, progress_aside, show, table
from spikesim.errors import BackendError, UserError

if TYPE_CHECKING:
    from spikesim.predict import Prediction


def predict(
    run: RunName,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="AEDAT 2 and 4, EVT 2 and 3, DAT, N-MNIST .bin, or npz."
        ),
    ],
    window_ms: Annotated[
        float | None,
        typer.Option(
            "--window",
            help="Cut recordings into windows of this many ms (default: as in training, where "
            "data.cut_us or data.window_us set it; else the whole recording).",
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        bool, typer.Option("--sort", help="Sort events by time where a file has them unsorted.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Class, probability and the three likeliest classes of each recording.

    A recording of several windows gets the mean of their probabilities. A file that cannot be
    read is named in one line; the others are still looked at, and the exit code is 2.
    """
    with progress_aside(as_json):
        from spikesim.predict import Predictor

        cut_us = None if window_ms is None else round(1000 * window_ms)
        found = find_run(run)
        predictor = Predictor(found, device=device, cut_us=cut_us)
        predictions: list[Prediction] = []
        for file in files:
            try:
                predictions.append(predictor(file, sort=sort))
            except (UserError, BackendError) as error:
                error_line(str(error))
    document = {"run": str(found.path), "predictions": [_plain(one) for one in predictions]}
    rows = [_row(one) for one in predictions]
    text = table(("file", "class", "probability", "likeliest", "windows"), rows)
    if rows or as_json:
        show(document, text, as_json)
    if len(predictions) < len(files):
        raise typer.Exit(MISTAKE)


def _plain(prediction: "Prediction") -> dict[str, Any]:
    name, probability = prediction.top(1)[0]
    return {
        "file": str(prediction.file),
        "class": name,
        "probability": probability,
        "top": [{"class": name, "probability": value} for name, value in prediction.top(3)],
        "windows": [
            {
                "start_us": window.start_us,
                "duration_us": window.duration_us,
                "events": window.events,
                "class": prediction.classes[int(window.probabilities.argmax())],
                "probability": float(window.probabilities.max()),
            }
            for window in prediction.windows
        ],
    }


def _row(prediction: "Prediction") -> tuple[str, str, str, str, int]:
    name, probability = prediction.top(1)[0]
    likeliest = ", ".join(f"{name} {value:.3f}" for name, value in prediction.top(3))
    windows = len(prediction.windows)
    return str(prediction.file), name, f"{probability:.3f}", likeliest, windows
