"""The report of a run: one self-contained HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING

from spikesim.report.data import Clip, ReportData

if TYPE_CHECKING:
    from spikesim.train.run import Run

__all__ = ["Clip", "ReportData", "write", "write_page"]


def write(run: "Run", path: Path | None = None) -> Path:
    """Write the report of a run, to ``report.html`` in its folder if no path is given.

    What is missing (a run that was killed, recordings that are gone) becomes a note on the page.

    Raises:
        OSError: the page cannot be written.
    """
    from spikesim.report.collect import collect

    return write_page(collect(run), run.path / "report.html" if path is None else path)


def write_page(data: ReportData, path: Path) -> Path:
    """Write the page of ``data``: whole, or not at all."""
    from spikesim.files import write_atomic
    from spikesim.report.page import render

    write_atomic(path, render(data).encode())
    return path
