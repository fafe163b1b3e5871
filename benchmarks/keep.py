"""Results that are kept: one JSON file, written after every figure, from one run or from several.

``--out FILE`` goes on with what FILE holds: figures that an earlier run left there are not measured
again, except ours, which every run measures anew. A ratio is always taken between two figures of
the same run. Remove the file to begin anew.
"""

import json
from pathlib import Path
from typing import Any

from spikesim.files import write_atomic

OURS = "spikesim"
SAME = ("benchmark", "device", "quick", "machine", "versions", "settings")


def resume(report: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """The head of a run, ``report``, with all that is in ``out`` already.

    Raises:
        SystemExit: ``out`` comes from another machine, other versions or other settings.
    """
    if out is None or not out.exists():
        return report
    earlier: dict[str, Any] = json.loads(out.read_text())
    for name in SAME:
        there, here = earlier.get(name), report[name]
        if there != here:
            raise SystemExit(
                f"{out} cannot be continued, its {name} differ: {difference(there, here)}; "
                "remove it to measure everything anew, or give another --out"
            )
    return earlier | {"date": report["date"]}


def difference(there: Any, here: Any) -> str:
    """What differs, in words."""
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"{there} there, {here} here"
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return ", ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in names)


def sides_of(report: dict[str, Any], row: str) -> list[dict[str, Any]]:
    """What earlier runs found for a row of this name."""
    rows = report.get("rows", [])
    found: list[list[dict[str, Any]]] = [known["sides"] for known in rows if known["row"] == row]
    return found[0] if found else []


def is_final(entry: dict[str, Any]) -> bool:
    """Whether there is nothing left to measure: a figure, or a failure."""
    return not entry.get("status", "").startswith("not measured")


def is_due(sides: list[dict[str, Any]], library: str, variant: str) -> bool:
    """Whether a side is still to be measured; ours always is."""
    name = (library, variant)
    found = [s for s in sides if (s["library"], s["variant"]) == name and is_final(s)]
    return library == OURS or not found


def put(sides: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Add a side, in place of what an earlier run found for it unless this one had no time."""
    name = (entry["library"], entry["variant"])
    names = [(side["library"], side["variant"]) for side in sides]
    if name not in names:
        sides.append(entry)
    elif is_final(entry):
        sides[names.index(name)] = entry


def save(report: dict[str, Any], out: Path | None) -> None:
    """Write the JSON where asked, whole or not at all."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, (json.dumps(report, indent=1) + "\n").encode())
