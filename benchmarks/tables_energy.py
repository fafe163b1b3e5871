"""Tables of ``energy.py``."""

from typing import Any

from tables_text import MISSING, table, where


def energy(report: dict[str, Any] | None) -> list[str]:
    """What counting costs, and joules of a training step."""
    out = ["## Counting operations, and joules of a training step\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/energy.py`\n"]
    task, bar = report["task"], report["bar"]
    out += [
        where(report),
        f"T = {task['steps']}, B = {task['batch']}, 2 x {task['size']} x {task['size']}, channels "
        "last. A forward pass in evaluation mode alone, and what a further batch costs "
        f"`spikesim.energy.count`; aim: at most {bar} times as much. With a CUDA graph: "
        "`count(..., cuda_graph=True)`. The last column: what waits for the device inside of a "
        "batch.\n",
    ]
    head = ["model", "forward", "counted", "", "graph", "counted", "", "over eager", "waits"]
    names = ("forward", "counted", "forward_graph", "counted_graph")
    lines = []
    for row in report.get("overhead", []):
        times = [f"{row[name]['median']:.2f} ms" if name in row else "" for name in names]
        eager = ratio(row, "counted_over_forward")
        graph = ratio(row, "counted_graph_over_forward_graph")
        crossed = ratio(row, "counted_graph_over_forward")
        lines.append(
            [
                f"{row['model']}, {row['dtype']}",
                *(*times[:2], eager, *times[2:], graph, crossed),
                row.get("waits", ""),
            ]
        )
    out.append(table(head, lines))
    copied = report["copy"]["gb_per_s"]
    out.append(
        "The kernel that counts what enters a layer, in GB/s read; `copy_` moves "
        f"{copied:,.0f} GB/s, half of it read.\n"
    )
    lines = [
        [" x ".join(map(str, row["shape"])), row["dtype"], row["values"], f"{row['gb_per_s']:,.0f}"]
        for row in report.get("tally", [])
    ]
    out.append(table(["shape", "dtype", "values", "GB/s"], lines))
    out.append(
        "A training step of Spikformer 2-256, as in its own table, by the GPU's total energy "
        "counter, without what the idle device draws: what the simulation costs, not a chip.\n"
    )
    lines = [
        [row.get("library", ""), row.get("dtype", ""), row.get("how", ""), *joules(row)]
        for row in report.get("step", [])
    ]
    return [*out, table(["library", "dtype", "how", "a step", "a sample", "power"], lines)]


def ratio(row: dict[str, Any], name: str) -> str:
    """Times the forward pass."""
    return f"{row[name]:.2f} x" if name in row else ""


def joules(row: dict[str, Any]) -> list[str]:
    """Of a step, or why there are none."""
    if "status" in row:
        return [str(row["status"]).replace("|", " "), "", ""]
    return [
        f"{row['joules_per_call_above_idle']:.3f} J",
        f"{1e3 * row['joules_per_sample_above_idle']:.1f} mJ",
        f"{row['watts']:.0f} W, idle {row['idle_watts']:.0f} W",
    ]
