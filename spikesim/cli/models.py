"""``spikesim models``: what can be built by name."""

from dataclasses import MISSING, asdict, fields
from typing import Annotated, Any

import typer
from rich.console import Group

from spikesim.cli.screen import Json, show, table

app = typer.Typer(help="List the models, or show the sizes and presets of one.")


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """Name, description and presets of each model."""
    from spikesim import models

    known: list[dict[str, Any]] = []
    for name in models.names():
        model = models.info(name)
        known.append({"name": name, "summary": model.summary, "presets": list(model.presets)})
    rows = [(one["name"], one["summary"], ", ".join(one["presets"])) for one in known]
    show(known, table(("model", "what", "presets"), rows), as_json)


@app.command("info")
def model_info(
    name: Annotated[str, typer.Argument(help="As in `spikesim models list`.")],
    as_json: Json = False,
) -> None:
    """Sizes with their defaults, and presets with the number of their parameters."""
    from spikesim import models

    model = models.info(name)
    sizes = {
        field.name: None if field.default is MISSING else field.default
        for field in fields(model.sizes)
    }
    presets = [
        {
            "name": preset,
            "parameters": model.parameters(preset),
            "sizes": asdict(chosen.sizes),
            "task": asdict(chosen.task),
            "source": chosen.source,
        }
        for preset, chosen in model.presets.items()
    ]
    rows = []
    for preset, chosen in model.presets.items():
        task = chosen.task
        shape = "x".join(map(str, (task.in_channels, *task.image_size)))
        parameters = model.parameters(preset)
        rows.append(
            (preset, parameters, f"T={task.steps} {shape}", task.num_classes, chosen.source)
        )
    columns = ("preset", "parameters", "input", "classes", "source")
    text = Group(
        f"{name}: {model.summary}\n{model.source}\n",
        table(("size", "default"), [(key, str(value)) for key, value in sizes.items()]),
        f"\nset one with: spikesim train model.name={name} model.sizes.{next(iter(sizes))}=...\n",
        table(columns, rows),
    )
    document = {"name": name, "summary": model.summary, "source": model.source, "sizes": sizes}
    show(document | {"presets": presets}, text, as_json)
