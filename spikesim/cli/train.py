"""``spikesim train``: a recipe, some overrides, a run folder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from spikesim import __version__
from spikesim.cli.group import INTERRUPTED
from spikesim.cli.result import result_text
from spikesim.cli.screen import Json, console, error_line, progress_aside, show
from spikesim.errors import UserError
from spikesim.train.recipes import DEFAULT

if TYPE_CHECKING:
    from spikesim.train.config import Config


def split_arguments(arguments: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """``[RECIPE] [key=value ...]`` as typed -> (recipe or ``None``, overrides).

    >>> split_arguments(["train.epochs=3", "run.name=x"])
    (None, ('train.epochs=3', 'run.name=x'))
    """
    plain = [argument for argument in arguments if "=" not in argument]
    if plain and (len(plain) > 1 or plain[0] != arguments[0]):
        raise UserError(
            f"{plain[-1]!r} is neither the recipe, which comes first, nor key=value; "
            "write for instance: spikesim train nmnist-tiny train.epochs=3"
        )
    return (plain[0] if plain else None), tuple(one for one in arguments if "=" in one)


def settings(recipe: str | None, overrides: Sequence[str], resume: bool) -> "Config":
    """The settings of a new run, or of the one that ``run.name`` says is to go on."""
    from spikesim.train.config import Config

    if not resume or recipe is not None:
        return Config.load(recipe or DEFAULT, overrides)
    place = [one for one in overrides if one.startswith("run.")]
    path = Config.load(DEFAULT, place).run.path
    if not (path / "config.yaml").is_file():
        raise UserError(
            f"there is no run in {path} to resume; name it with run.name=..., "
            "or leave --resume out to start one"
        )
    return Config.load(path / "config.yaml", overrides)


def _how_to_go_on(config: "Config") -> str:
    if not (config.run.path / "config.yaml").is_file():
        return "nothing was written yet"
    place = "" if config.run.dir == "runs" else f" run.dir={config.run.dir}"
    return f"go on with: spikesim train --resume run.name={config.run.name}{place}"


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            show_default=False,
            help=f"A recipe (default: {DEFAULT}; `spikesim recipes list`) or a YAML file, then "
            "settings to change, such as train.epochs=3 train.seed=1 run.name=x data.root=DIR "
            "train.device=cpu (`spikesim recipes show` prints all, with their defaults).",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run named by run.name (default: the recipe's name) "
            "from its last checkpoint.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model and write the folder runs/NAME: checkpoint, metrics, result, report.

    An existing run is never overwritten. Under torchrun the same command trains in several
    processes.
    """
    recipe, overrides = split_arguments(arguments or ())
    with progress_aside(as_json):
        # Said before torch is imported, which takes seconds.
        what = [recipe or DEFAULT] if recipe or not resume else []
        said = " ".join([*what, *overrides, *(["--resume"] if resume else [])])
        console().print(f"spikesim {__version__}: train {said}", style="bold", soft_wrap=True)
        config = settings(recipe, overrides, resume)
        from spikesim.train import loop

        try:
            result = loop.train(config, resume=resume)
        except KeyboardInterrupt:
            error_line(f"interrupted; {_how_to_go_on(config)}")
            raise typer.Exit(INTERRUPTED) from None
    show(result.to_dict(), result_text(config.run.path, result.to_dict()), as_json)
