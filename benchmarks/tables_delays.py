"""Tables of ``delays.py``."""

from typing import Any

import keep
from tables_text import MISSING, table, where

HEAD = ["task", "spikesim", "best dense", "faster", "memory", "all sides, ms", "difference"]


def delays(*reports: dict[str, Any] | None) -> list[str]:
    """A line for each task, for each device that was measured."""
    out = ["## Synapses with delays\n"]
    known = [report for report in reports if report is not None]
    if not known:
        return [*out, f"{MISSING}: `python benchmarks/delays.py`\n"]
    out.append(
        "ms and MiB beyond what a call is given, of the quickest precision of each; memory is "
        "ours, that of the quickest dense side, and the least of all dense ones; the difference is "
        "that of float32 results from dense ones, of the largest.\n"
    )
    for report in known:
        rows = [line(row) for row in report["rows"]]
        out += [where(report).replace("TF32 on for all sides", "5 % spikes"), table(HEAD, rows)]
    return out


def line(row: dict[str, Any]) -> list[str]:
    """Of one task."""
    sides = [side for side in row["sides"] if "ms" in side]
    both = [[s for s in sides if (s["library"] == keep.OURS) is ours] for ours in (True, False)]
    ours, dense = (min(group, key=lambda s: s["ms"]["median"]) for group in both)
    memory = ""
    if "extra_mib" in ours:
        least = min(both[1], key=lambda side: float(side["extra_mib"]))
        mine, *others = (float(side["extra_mib"]) for side in (ours, dense, least))
        told = ", ".join(f"{other:.0f} ({other / mine:.1f} x)" for other in others)
        memory = f"{mine:.0f}; {told}"
    return [
        row["row"],
        f"{ours['ms']['median']:.3g} ({ours['variant']})",
        f"{dense['ms']['median']:.3g} ({dense['library']} {dense['variant']})",
        f"{dense['ms']['median'] / ours['ms']['median']:.2f} x",
        memory,
        "; ".join(f"{s['library']} {s['variant']} {s['ms']['median']:.3g}" for s in sides),
        f"{row['difference']:.1e}",
    ]
