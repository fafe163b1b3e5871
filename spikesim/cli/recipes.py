"""``spikesim recipes``: what can be trained by name."""

from typing import Annotated

import typer

from spikesim.cli.screen import Json, show, table

app = typer.Typer(help="List the recipes, or show the settings of one.")


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_recipes()


@app.command("list")
def list_recipes(as_json: Json = False) -> None:
    """Name and purpose of each recipe."""
    from spikesim.train import recipes

    known = [{"name": name, "summary": recipes.summary(name)} for name in recipes.names()]
    show(known, table(("recipe", "what"), [tuple(one.values()) for one in known]), as_json)


@app.command("show")
def show_recipe(
    recipe: Annotated[str, typer.Argument(help="A name, or the path of a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every setting of a recipe, defaults included, as YAML that `spikesim train` takes."""
    import yaml

    from spikesim.train.config import Config

    settings = Config.load(recipe, overrides or ()).to_dict()
    show(settings, yaml.safe_dump(settings, sort_keys=False).rstrip(), as_json)
