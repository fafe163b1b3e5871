"""The argument RUN of several commands: a folder, or a name inside ``runs/``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spikesim.train.run import Run

RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's folder, or its name inside runs/."),
]

Device = Annotated[
    str, typer.Option("--device", help="auto (CUDA where there is one), cpu, cuda or cuda:N.")
]


def find_run(run: str) -> "Run":
    """The run of that name or folder.

    Raises:
        UserError: there is none; the nearest name is suggested.
    """
    from spikesim.train.run import Run

    path = Path(run)
    is_path = path.name != run or (path / "config.yaml").is_file()
    return Run(path if is_path else Path("runs") / path)
