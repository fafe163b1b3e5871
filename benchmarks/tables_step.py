"""Tables of ``training_step.py``."""

from collections.abc import Callable
from typing import Any

from tables_text import MISSING, table, where


def training_step(report: dict[str, Any] | None) -> list[str]:
    """What counts of both libraries, then everything tried."""
    out = ["## A training step of Spikformer 2-256\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/training_step.py`\n"]
    task, rows = report["task"], report["rows"]
    out += [
        where(report),
        f"T = {task['steps']}, B = {task['batch']}, {task['channels']} x {task['size']} x "
        f"{task['size']}, {task['classes']} classes: forward, loss, backward, AdamW. "
        "SpikingJelly's best is that of everything tried, with the CUDA graph and the float32 "
        "membrane that this benchmark puts around it; as released: its modules and precision API "
        "without these, with or without `torch.compile` and channels-last (its example trainer "
        "captures graphs too, by a module that is private to it).\n",
    ]
    head = ["", *(row["dtype"] for row in rows)]
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "spikesim's best": lambda row: spent(row["sides"][0]["best"]),
        "SpikingJelly's best": lambda row: spent(row["sides"][1]["best"]),
        "faster than its best": lambda row: times(row["times_the_peer"], row["bar_times"]),
        "SpikingJelly as released": lambda row: spent(row["sides"][1]["as_released"]),
        "faster than as released": lambda row: times(row["times_the_peer_as_released"]),
        "memory, over that of SpikingJelly's best": lambda row: share(row, "memory_over_the_peer"),
        "spikesim with the least memory": lambda row: spent(row["sides"][0]["smallest"]),
        "SpikingJelly with the least memory": lambda row: spent(row["sides"][1]["smallest"]),
        "our least, over that of SpikingJelly's best": (
            lambda row: share(row, "smallest_over_the_peer")
        ),
    }
    out.append(table(head, [[what, *map(cell, rows)] for what, cell in lines.items()]))
    sides = [(row["dtype"], side) for row in rows for side in row["sides"]]
    tried = [
        [side["library"], dtype, choice["how"], *figures(choice)]
        for dtype, side in sides
        for choice in side["tried"]
    ]
    out += ["Everything that was tried:\n"]
    out.append(table(["library", "dtype", "how", "step", "peak memory"], tried))
    missing = [name for row in rows for name in row["missing"]]
    if missing:
        out += ["Not measured yet:\n", "\n".join(f"- {name}" for name in missing) + "\n"]
    return out


def times(ratio: float | None, aim: float | None = None) -> str:
    """How much faster, and how much it should be."""
    if ratio is None:
        return ""
    return f"{ratio:.2f} x" + (f" (aim {aim:.0f})" if aim else "")


def share(row: dict[str, Any], name: str) -> str:
    """A part of the peer's memory."""
    return "" if row[name] is None else f"{row[name]} (aim {row['bar_memory']})"


def spent(choice: dict[str, Any] | None) -> str:
    """A choice with its time and memory."""
    return "" if choice is None else ", ".join([choice["how"], *filter(None, figures(choice))])


def figures(choice: dict[str, Any]) -> list[str]:
    """Time and memory, or why there are none."""
    if "ms" not in choice:
        return [str(choice["status"]).replace("|", " "), ""]
    memory = f"{choice['peak_bytes'] / 1e9:.2f} GB" if choice["peak_bytes"] else ""
    return [f"{choice['ms']['median']:.2f} ms", memory]
