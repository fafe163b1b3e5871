"""What the tables of all benchmarks are made with."""

from typing import Any

MISSING = "no figures yet"
LIBRARIES = ("SpikingJelly", "snnTorch", "Norse")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def where(report: dict[str, Any]) -> str:
    """Machine, versions and settings, in a sentence."""
    machine, versions, settings = report["machine"], report["versions"], report["settings"]
    if "gpu" in machine:
        place = f"{machine['gpu']}, driver {machine['driver']}, CUDA {machine['cuda']}"
    else:
        place = f"{machine['processor']}, {machine['threads']} threads of {machine['cores']} cores"
    known = ", ".join(f"{k} {v}" for k, v in versions.items() if v != "not installed")
    absent = ", ".join(k for k, v in versions.items() if v == "not installed")
    tf32 = "on" if settings["tf32"] else "off"
    gone = f" Not installed: {absent}." if absent else ""
    return (
        f"{place}; {report['date']}; {known}; TF32 {tf32} for all sides; medians of "
        f"{settings['repeats']}.{gone}\n"
    )


def troubles(rows: list[dict[str, Any]]) -> list[str]:
    """Sides without a figure, and why; the same reason once."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for side in row["sides"]:
            if "status" in side:
                why = f"{side['library']} {side['variant']}: {side['status']}"
                found.setdefault(why, []).append(f"{row['model']} {row['dtype']} {row['shape']}")
    if not found:
        return []
    lines = [
        f"- {why.replace('|', ' ')} ({len(places)} rows: {places[0]}{' ...' if places[1:] else ''})"
        for why, places in found.items()
    ]
    return ["Without a figure:\n", "\n".join(lines) + "\n"]
