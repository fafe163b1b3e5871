"""Tables of ``memory.py``."""

from typing import Any

from tables_text import LIBRARIES, MISSING, table, troubles, where


def memory(report: dict[str, Any] | None) -> list[str]:
    """Extra memory over the input's."""
    out = ["## Memory of one layer\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/memory.py`\n"]
    out += [
        where(report),
        "The most that is asked of the allocator during forward and backward beyond `x`, `s`, "
        "`ds`, `dx` and the parameters, divided by the size of `x`; in brackets what stays "
        "between the two. Of each library the way that needs least.\n",
    ]
    head = ["layer", "aim", "spikesim", *LIBRARIES, "torch loop", "torch.compile"]
    lines = []
    for row in report["rows"]:
        steps, width = row["shape"]
        names = [{"library": name} for name in ("spikesim", *LIBRARIES)]
        names += [{"library": "torch", "variant": name} for name in ("loop", "compile")]
        lines.append(
            [
                f"{row['model']}, {row['dtype']}, {steps:,} x {width:,}",
                f"{row['bar_over_input']:.3f}",
                *(needed(row, wanted) for wanted in names),
            ]
        )
    return [*out, table(head, lines), *troubles(report["rows"])]


def needed(row: dict[str, Any], wanted: dict[str, str]) -> str:
    """The least that a library needs."""
    sides = [s for s in row["sides"] if all(s[key] == value for key, value in wanted.items())]
    known = [side for side in sides if side.get("extra_over_input") is not None]
    if not known:
        return "none" if sides else ""
    best = min(known, key=lambda side: side["extra_over_input"])
    return f"{best['extra_over_input']:.3f} ({best['saved_over_input']:.3f})"
