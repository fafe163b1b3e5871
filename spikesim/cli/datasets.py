"""``spikesim datasets``: what can be loaded by name, what is here, and how to get the rest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikesim.cli.screen import Json, progress_aside, show, table
from spikesim.errors import UserError

if TYPE_CHECKING:
    from spikesim.datasets import Source

app = typer.Typer(help="List the datasets, show one, or download and pack one.")

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="The dataset's folder (default: $SPIKESIM_DATA/NAME, or ~/.cache/spikesim/data/NAME).",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Presence:
    """Whether a dataset is on this machine: ``here`` for each split, where, and what to do."""

    here: dict[str, bool]
    root: str
    cure: str

    @property
    def words(self) -> str:
        """In one word or a few."""
        found = [split for split, is_here in self.here.items() if is_here]
        if len(found) == len(self.here):
            return "here"
        return f"only {', '.join(found)}" if found else "absent"


def presence(name: str, root: Path | None = None) -> Presence:
    """Look for a dataset without unpacking or downloading anything."""
    from spikesim.datasets import info
    from spikesim.datasets.registry import source_class

    splits = info(name).splits
    try:
        source = source_class(name)(root)
    except UserError as error:
        # the user's own recordings have no default place
        return Presence(dict.fromkeys(splits, False), "", str(error))
    here = {split: _is_here(source, split) for split in splits}
    return Presence(here, str(source.root), "" if all(here.values()) else str(source.missing()))


def _is_here(source: "Source", split: str) -> bool:
    """Whether the archives of a split are there, or as many recordings as it has."""
    from spikesim.datasets.archives import ArchiveSource, select

    if not isinstance(source, ArchiveSource):
        return source.root.exists()
    part = source.part(split)
    archives = [archive for archive in source.info.archives if archive.name in part.archives]
    if archives and all(source.find(archive) is not None for archive in archives):
        return True
    return len(select(source.root, part)) >= part.count


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_datasets()


@app.command("list")
def list_datasets(as_json: Json = False) -> None:
    """Name, title and sensor of each dataset, and whether it is on this machine."""
    from spikesim import datasets

    known: list[dict[str, Any]] = []
    for name in datasets.names():
        info = datasets.info(name)
        found = presence(name)
        known.append(
            {
                "name": name,
                "title": info.title,
                "sensor_size": list(info.sensor_size),
                "classes": len(info.classes),
                "state": found.words,
                "root": found.root,
            }
        )
    rows = [
        (
            one["name"],
            one["state"],
            _size(one["sensor_size"]),
            one["classes"] or "any",
            one["title"],
        )
        for one in known
    ]
    show(known, table(("dataset", "state", "sensor", "classes", "what"), rows), as_json)


def _size(sensor_size: Sequence[int]) -> str:
    """Width, height and polarities in words; ``any`` where the files decide."""
    return " x ".join(map(str, sensor_size)) if any(sensor_size) else "any"


@app.command("info")
def dataset_info(
    name: Annotated[str, typer.Argument(help="As in `spikesim datasets list`.")],
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Sensor, classes, splits, licence, citation, files, and what is missing."""
    from spikesim import datasets

    info = datasets.info(name)
    found = presence(name, root)
    document = asdict(info) | {"state": found.words, "root": found.root, "cure": found.cure}
    rows = [
        ("sensor (W, H, P)", _size(info.sensor_size)),
        ("classes", ", ".join(info.classes) or "as found"),
        (
            "splits",
            ", ".join((*info.splits, *info.extra_splits))
            + ("" if info.official_split else " (ours)"),
        ),
        ("licence", info.licence),
        ("citation", info.citation),
        ("page", info.url),
        *(("archive", f"{one.name}  md5 {one.md5 or 'unknown'}") for one in info.archives),
        ("layout", info.layout),
        ("notes", info.notes),
        ("state", f"{found.words}: {found.root}"),
        ("what to do", found.cure),
    ]
    text = table((name, info.title), [row for row in rows if row[1]])
    show(document, text, as_json)


@app.command("prepare")
def prepare(
    name: Annotated[str, typer.Argument(help="As in `spikesim datasets list`.")],
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Download what is missing, check it, unpack it, and pack its events for fast reading.

    What was interrupted goes on from where it stopped; a wrong archive is refused, with the
    expected and the found checksum.
    """
    from spikesim import datasets
    from spikesim.datasets.registry import source_class

    with progress_aside(as_json):
        source = source_class(name)(root)
        source.prepare()
        splits = []
        for split in source.info.splits:
            loaded = datasets.load(name, split, root=root)
            counts = loaded.counts
            splits.append({"split": split, "recordings": len(loaded), "events": int(counts.sum())})
    document = {"name": name, "root": str(source.root), "splits": splits}
    text = table(("split", "recordings", "events"), [tuple(one.values()) for one in splits])
    show(document, text, as_json)
