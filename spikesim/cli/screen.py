"""What the command line shows: text for people, one JSON document for scripts, one-line errors."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console, RenderableType
from rich.table import Table

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead of text.")
]
"""The option ``--json`` of a command."""


def rank() -> int:
    """The number of this process under ``torchrun``; 0 without it."""
    return int(os.environ.get("RANK", "0"))


def console() -> Console:
    """Where text for people goes: standard output; nowhere on ranks above 0."""
    width = None if sys.stdout.isatty() else 160
    return Console(quiet=rank() > 0, highlight=False, markup=False, width=width)


def error_line(message: str) -> None:
    """``error: ...`` as one plain line on standard error, however the message was wrapped."""
    # A single rank may fail alone (its device, its disk), so every rank says what happened.
    who = f" (rank {rank()})" if rank() else ""
    print(f"error{who}: {' '.join(message.split())}", file=sys.stderr, flush=True)


@contextmanager
def progress_aside(as_json: bool) -> Iterator[None]:
    """With ``as_json``, whatever is printed inside goes to standard error.

    So ``spikesim ... --json | jq`` works, whatever a library prints.
    """
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def show(document: Any, text: RenderableType, as_json: bool, *, indent: int | None = 2) -> None:
    """The result of a command: ``document`` as JSON, or ``text`` for people; from rank 0 only.

    Without an ``indent`` the JSON is one line.
    """
    if rank():
        return
    if as_json:
        print(json.dumps(document, indent=indent, allow_nan=False, default=str))
    else:
        console().print(text, soft_wrap=isinstance(text, str))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Table:
    """A plain table; columns of numbers are aligned to the right."""
    rows = [list(row) for row in rows]
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        # A narrow terminal folds the other columns before the names in the first.
        least = min(24, max(len(str(row[0])) for row in rows)) if rows and index == 0 else None
        drawn.add_column(
            column, justify="right" if numeric else "left", overflow="fold", min_width=least
        )
    for row in rows:
        drawn.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return drawn
