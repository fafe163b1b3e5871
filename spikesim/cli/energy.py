"""``spikesim energy``: operations and joules of a run, a model or a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from spikesim.cli.run import Device
from spikesim.cli.screen import Json, progress_aside, show
from spikesim.errors import UserError

if TYPE_CHECKING:
    from spikesim.energy import EnergyReport
    from spikesim.energy.measure import Measurement
    from spikesim.energy.model import EnergyModel
    from spikesim.train.run import Run


def _file(option: str, about: str) -> Any:
    return typer.Option(option, metavar="FILE", help=about, show_default=False)


def energy(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT [KEY=VALUE]... [RUN]...",
            help="A run's folder or name, a model (`spikesim models list`) or a network "
            "(`spikesim simulate --list`); its settings, such as preset=tiny steps=4; after a run, "
            "others to compare with in --figures.",
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="'NAME [KEY=VALUE]...'",
            help="An energy model with its settings, such as 'spinnaker variant=tang'; may be "
            "repeated (default: classical, step, lemaire, loihi). A wrong name lists what exists.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="A dataset for a model (default: random events)."),
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Where the dataset lies.")] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            help="Recordings to count on, at most (default: 64; of random events, 4).",
            show_default=False,
        ),
    ] = None,
    ms: Annotated[
        float | None,
        typer.Option(
            "--ms", help="Biological time of a network (default: 1000).", show_default=False
        ),
    ] = None,
    seconds_per_step: Annotated[
        float | None,
        typer.Option(
            "--seconds-per-step",
            help="Real time of a step on a chip, for its idle power (default: 0.001).",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[Path | None, _file("--csv", "Write the layers as CSV.")] = None,
    latex: Annotated[Path | None, _file("--latex", "Write a table for LaTeX (booktabs).")] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Draw layers, crossover, what decides, and accuracy against energy of runs.",
            show_default=False,
        ),
    ] = None,
    measured: Annotated[
        bool,
        typer.Option(
            "--measure", help="Also measure what the simulation spends here (NVML, RAPL; 20 s)."
        ),
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Count all operations on data; then joules by named models, baselines, intervals.

    A model without --data gets random events and fresh weights; the table says so.
    """
    settings = [one for one in what[1:] if "=" in one]
    beside = [one for one in what[1:] if "=" not in one]
    if beside and figures is None:
        raise UserError(f"{beside[0]}: other runs are compared in --figures DIR; give it too")
    for path in (csv, latex):
        if path is not None and path.is_dir():
            raise UserError(f"{path} is a folder; name a file")
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: there is no folder {path.absolute().parent}")
    if csv is not None and csv == latex:
        raise UserError(f"--csv and --latex both write {csv}; name two files")
    if figures is not None:
        above = next(folder for folder in (figures, *figures.absolute().parents) if folder.exists())
        if not above.is_dir():
            raise UserError(f"--figures {figures}: {above} is a file; name a folder")
    with progress_aside(as_json):
        from spikesim.cli.energy_target import Wish, target
        from spikesim.energy import EnergyReport
        from spikesim.energy.measure import measure

        models = _models(model, seconds_per_step)
        itself = _finished(what[0]) if beside else None
        runs = [_point(_finished(name)) for name in beside]
        found = target(what[0], settings, Wish(data, root, samples, ms, device))
        report = EnergyReport.of(found.count(not as_json), models=models)
        spent = measure(found.call, device=found.device) if measured else None
        written = _write(report, csv, latex)
        if figures is not None:
            counted = [] if itself is None else [_point(itself, report.to_dict())]
            written += _draw(report, [*counted, *runs], figures)
    document = {"what": what[0], "about": found.about, **report.to_dict()}
    lines = [f"wrote {path}" for path in written]
    if spent is not None:
        document["measured"] = _measured(spent, found.samples)
        lines = [*spent.lines(), f"a call runs {found.samples} samples", *lines]
    show(document, Group(f"{found.about}\n", report.table(), *lines), as_json)


def _models(given: list[str] | None, seconds_per_step: float | None) -> "list[EnergyModel]":
    from spikesim.cli.simulate_keys import settings
    from spikesim.energy.models import CHIPS, maker, several
    from spikesim.train.outcome import ENERGY_MODELS

    named = [text.split() for text in given or ENERGY_MODELS]
    if seconds_per_step is not None:
        chips = [words for words in named if words and words[0] in CHIPS]
        if not chips:
            raise UserError("--seconds-per-step: none of the models is a chip; leave it out")
        for words in chips:
            words.append(f"seconds_per_step={seconds_per_step}")
    return several(
        make(**settings(make, overrides))
        for make, overrides in ((maker(" ".join(words[:1])), words[1:]) for words in named)
    )


def _finished(name: str) -> "Run":
    """A run that has an accuracy to compare."""
    from spikesim.cli.run import find_run

    run = find_run(name)
    if run.result is None:
        raise UserError(f"{run.path} has not finished: it has no accuracy to compare")
    return run


def _point(run: "Run", energy: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Accuracy and energy of a finished run; by default the energy of its result."""
    result = run.result
    assert result is not None
    energy = result.energy if energy is None else energy
    if "models" not in energy:
        raise UserError(f"{run.path} has no energy by model in its result.json; leave it out")
    one = {"name": run.path.resolve().name, "accuracy": result.accuracy}
    return {**one, "interval": result.interval, "energy": energy}


def _write(report: "EnergyReport", csv: Path | None, latex: Path | None) -> list[Path]:
    from spikesim.files import write_atomic

    for path, text in ((csv, report.to_csv), (latex, report.to_latex)):
        if path is not None:
            write_atomic(path, text().encode())
    return [path for path in (csv, latex) if path is not None]


def _draw(report: "EnergyReport", runs: list[dict[str, Any]], folder: Path) -> list[Path]:
    from spikesim.report import energy_pictures

    pictures = [*energy_pictures.of_energy(report.to_dict())]
    for name in report.models:
        shared = [run for run in runs if name in run["energy"]["models"]]
        if len(shared) > 1:
            pictures.append(energy_pictures.of_runs(shared, name))
    return energy_pictures.save(pictures, folder)


def _measured(spent: "Measurement", samples: int) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **asdict(spent),
        "samples_per_call": samples,
        "what": "cost of the simulation on this machine, not of a chip",
    }
