"""``spikesim doctor``: what works on this machine, and what to do about what does not."""

from dataclasses import asdict
from itertools import groupby

import typer
from rich.console import Group, RenderableType

from spikesim.cli.group import FAILED
from spikesim.cli.screen import Json, progress_aside, show, table


def doctor(as_json: Json = False) -> None:
    """Versions, devices, backends and neurons (each runs a kernel), datasets, disk, what to do.

    Exit code 1 if something is broken that spikesim cannot do without.
    """
    from spikesim.cli import checks

    with progress_aside(as_json):
        found = checks.run_all()
    sections: list[RenderableType] = []
    for section, group in groupby(found, key=lambda check: check.section):
        rows = [(check.name, check.state, check.detail) for check in group]
        sections += [table((section, "state", ""), rows), ""]
    cures = {check.name: check.cure for check in found if check.cure}
    sections.append(table(("to do", ""), list(cures.items())) if cures else "nothing to do")
    broken = [check.name for check in found if check.state == "broken"]
    sections.append(f"\nbroken: {', '.join(broken)}" if broken else "\nready: spikesim train")
    document = {"ok": not broken, "checks": [asdict(check) for check in found]}
    show(document, Group(*sections), as_json)
    if broken:
        raise typer.Exit(FAILED)
