"""Tables of ``neurons.py``."""

from typing import Any

from tables_text import LIBRARIES, MISSING, table, troubles, where


def neurons_on_gpu(report: dict[str, Any] | None) -> list[str]:
    """Fractions of the copy bandwidth, then the small layer."""
    out = ["## One layer on a GPU\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/neurons.py`\n"]
    copies = ", ".join(f"{copy['gb_per_s']:,.0f}" for copy in report["copy"])
    out += [
        where(report),
        f"`copy_` of 1 GiB, from the start of each run to its end: {copies} GB/s read and "
        "written. A cell is the fraction of the largest of its run that a side reaches, counting "
        "the least traffic (forward: read `x`, write `s`; backward: read `x` and `ds`, write `dx`; "
        "all in the input's dtype), and milliseconds. Of each library the best way counts. "
        "SpikingJelly takes by itself: "
        f"{report['spikingjelly_auto'].get('implementation', 'nothing')}.\n",
    ]
    wide = [row for row in report["rows"] if row["clock"] == "device"]
    out.append(neuron_table(wide, lambda row: f"{row['bar']}"))
    small = [row for row in report["rows"] if row["clock"] != "device"]
    out += [
        "A small layer, wall clock with all launches, eager and replayed from a CUDA graph, in "
        "microseconds:\n",
        neuron_table(small, lambda row: f"{1e3 * row['bar']:.0f}"),
        *slow(report),
        *troubles(report["rows"]),
    ]
    return out


def neurons_on_cpu(report: dict[str, Any] | None) -> list[str]:
    """Milliseconds."""
    out = ["## One layer on the CPU\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/neurons.py --device cpu`\n"]
    out += [
        where(report),
        "Milliseconds, and how many times ours; to reach: 10 x SpikingJelly, 3 x torch.compile:\n",
        neuron_table(report["rows"], None),
        *slow(report),
        *troubles(report["rows"]),
    ]
    return out


def neuron_table(rows: list[dict[str, Any]], bar: Any) -> str:
    """One line a row, one column a library."""
    head = ["layer", "spikesim", *LIBRARIES, "torch loop", "torch.compile", "faster than the best"]
    lines = []
    for row in rows:
        cells = [cell(row, library="spikesim")]
        cells += [cell(row, library=library) for library in LIBRARIES]
        cells += [cell(row, library="torch", variant=name) for name in ("loop", "compile")]
        times = row["times_the_best_peer"]
        cells.append("" if times is None else f"{times:.2f} x")
        wish = [] if bar is None else [bar(row)]
        lines.append([title(row), *wish, *cells])
    if bar is not None:
        head.insert(1, "aim")
    return table(head, lines)


def title(row: dict[str, Any]) -> str:
    """What a row measures."""
    clock = "" if row["clock"] == "device" else f", {row['clock']}"
    shape = " x ".join(f"{size:,}" for size in row["shape"])
    return f"{row['model']} {row['what']}, {row['dtype']}, {shape}{clock}"


def cell(row: dict[str, Any], **wanted: str) -> str:
    """The best figure of a library."""
    sides = [s for s in row["sides"] if all(s[key] == value for key, value in wanted.items())]
    timed = [side for side in sides if "ms" in side]
    if not timed:
        return "none" if sides else ""
    best = min(timed, key=lambda side: side["ms"]["median"])
    ms = best["ms"]["median"]
    if row["clock"] != "device":
        return f"{1e3 * ms:.1f}"
    if row["bar"]:
        return f"{best['fraction_of_copy']:.2f} ({ms:.3g})"
    return f"{ms:.3g} ({best['times_ours']:.1f} x)" if "times_ours" in best else f"{ms:.3g}"


def slow(report: dict[str, Any]) -> list[str]:
    """Sides whose calls take so long that fewer of them are timed."""
    found: dict[str, list[int]] = {}
    for side in (side for row in report["rows"] for side in row["sides"] if "ms" in side):
        if side["ms"]["repeats"] < report["settings"]["repeats"]:
            name = f"{side['library']} {side['variant']}"
            found.setdefault(name, []).append(side["ms"]["repeats"])
    if not found:
        return []
    told = ", ".join(f"{name} ({min(counts)} or more)" for name, counts in found.items())
    return [f"Medians of fewer, for calls of more than half a second: {told}.\n"]
