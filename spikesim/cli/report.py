"""``spikesim report``: the page of a run, written again."""

from spikesim.cli.run import RunName, find_run
from spikesim.cli.screen import Json, progress_aside, show


def report(run: RunName, as_json: Json = False) -> None:
    """Write RUN/report.html: curves, confusion, events, rasters, membrane traces, energy."""
    with progress_aside(as_json):
        from spikesim import report as pages

        page = pages.write(find_run(run))
    show({"report": str(page)}, f"report {page}", as_json)
