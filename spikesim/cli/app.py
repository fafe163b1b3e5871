"""The typer application: every command in one place."""

import platform
import sys
from typing import Annotated

import typer

from spikesim import __version__
from spikesim.cli import (
    datasets,
    doctor,
    energy,
    evaluate,
    models,
    predict,
    recipes,
    report,
    simulate,
    train,
)
from spikesim.cli.group import EXIT_CODES, OneLineErrors

# Ordinary tracebacks: they can be pasted into an issue, and show no data of the user's.
app = typer.Typer(
    name="spikesim",
    cls=OneLineErrors,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES,
    rich_markup_mode="markdown",
)
app.command("train", epilog=EXIT_CODES)(train.train)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("report")(report.report)
app.command("energy", epilog=EXIT_CODES)(energy.energy)
app.command("simulate", epilog=EXIT_CODES)(simulate.simulate)
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"spikesim {__version__} (Python {platform.python_version()})")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Spiking networks: train on event data, look, count the energy; simulate published ones.

    Start with **spikesim train**: it trains a spiking transformer on real event-camera
    recordings that come with the package; or with **spikesim simulate brunel**.
    **spikesim doctor** says what works here.
    """
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stdout)
