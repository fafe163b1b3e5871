"""The README of this folder, made from the JSON files in ``results/``.

    python benchmarks/tables.py > benchmarks/README.md

No figure in it is written by hand.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MISSING = "no figures yet"
HEAD = """\
# Benchmarks

This file is printed by `python benchmarks/tables.py` from the JSON in `results/`, which holds more:
every way that was tried, spreads, firing rates, versions and settings.

| script | what | results |
|---|---|---|
| `neurons.py` | one layer, forward and backward | `neurons_h200.json`, `neurons_cpu.json` |
| `memory.py` | what a layer needs beyond input, output and their gradients | `memory_h200.json` |
| `training_step.py` | a whole training step of Spikformer 2-256 | `training_step_h200.json` |
| `attention.py` | the products of spikes in attention | `attention_h200.json` |
| `event_loading.py` | recordings to batches | `event_loading_nmnist.json` |
| `model_h200.py` | the CIFAR10-DVS model, plain torch reference | `model_h200.json` |

All but the last two take `--device cpu --quick` to see that they run, and `--out FILE` for the
JSON. The peers: `pip install --no-deps -r requirements-peers.txt`. One file is one run: figures of
different files are not to be divided by each other.
"""
LIBRARIES = ("SpikingJelly", "snnTorch", "Norse")


def readme(results: Path = HERE / "results") -> str:
    """The whole file."""
    parts = [
        HEAD,
        *neurons_on_gpu(read(results, "neurons_h200")),
        *neurons_on_cpu(read(results, "neurons_cpu")),
        *memory(read(results, "memory_h200")),
        *training_step(read(results, "training_step_h200")),
    ]
    return "\n".join(parts)


def read(results: Path, name: str) -> dict[str, Any] | None:
    """One file of results, if it is there."""
    path = results / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


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


def neurons_on_gpu(report: dict[str, Any] | None) -> list[str]:
    """Fractions of the copy bandwidth, then the small layer."""
    out = ["## One layer on a GPU\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/neurons.py`\n"]
    copies = ", ".join(f"{copy['gb_per_s']:,.0f}" for copy in report["copy"])
    out += [
        where(report),
        f"`copy_` of 1 GiB, from the start of the run to its end: {copies} GB/s read and "
        "written. A cell is the fraction of the largest that a side reaches, counting the least "
        "traffic (forward: read `x`, write `s`; backward: read `x` and `ds`, write `dx`; all in "
        "the input's dtype), and milliseconds. Of each library the best way counts. SpikingJelly "
        "takes by itself: "
        f"{report['spikingjelly_auto'].get('implementation', 'nothing')}.\n",
    ]
    wide = [row for row in report["rows"] if row["clock"] == "device"]
    out.append(neuron_table(wide, lambda row: f"{row['bar']}"))
    small = [row for row in report["rows"] if row["clock"] != "device"]
    out += [
        "A small layer, wall clock with all launches, eager and replayed from a CUDA graph, in "
        "microseconds:\n",
        neuron_table(small, lambda row: f"{1e3 * row['bar']:.0f}"),
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
    mine = [s["ms"]["median"] for s in row["sides"] if s["library"] == "spikesim" and "ms" in s]
    if not mine or best["library"] == "spikesim":
        return f"{ms:.3g}"
    return f"{ms:.3g} ({ms / mine[0]:.1f} x)"


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


def training_step(report: dict[str, Any] | None) -> list[str]:
    """The best of both libraries, then everything tried."""
    out = ["## A training step of Spikformer 2-256\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/training_step.py`\n"]
    task = report["task"]
    out += [
        where(report),
        f"T = {task['steps']}, B = {task['batch']}, {task['channels']} x {task['size']} x "
        f"{task['size']}, {task['classes']} classes: forward, loss, backward, AdamW.\n",
    ]
    lines, tried = [], []
    for row in report["rows"]:
        best = [side["best"] for side in row["sides"]]
        times, share = row["times_the_peer"], row["memory_over_the_peer"]
        lines.append(
            [
                row["dtype"],
                *(f"{described(choice)}: {spent(choice)}" for choice in best),
                f"{times} x (aim {row['bar_times']:.0f})" if times else "",
                f"{share} (aim {row['bar_memory']})" if share else "",
            ]
        )
        for side in row["sides"]:
            tried += [
                [side["library"], row["dtype"], described(choice), spent(choice)]
                for choice in side["tried"]
            ]
    head = ["dtype", "spikesim's best", "SpikingJelly's best", "faster", "memory over the peer's"]
    out += [table(head, lines), "Everything that was tried:\n"]
    out.append(table(["library", "dtype", "how", "step, peak memory"], tried))
    return out


def described(choice: dict[str, Any]) -> str:
    """A choice in words."""
    words = [choice["neurons"], choice["layout"]]
    words += ["torch.compile"] * choice["compiled"] + ["CUDA graph"] * choice["graph"]
    words += ["by the trainer"] * choice["trainer"]
    return ", ".join(words)


def spent(choice: dict[str, Any]) -> str:
    """Its time and memory, or why there is none."""
    if "ms" not in choice:
        return str(choice["status"]).replace("|", " ")
    memory = f", {choice['peak_bytes'] / 1e9:.2f} GB" if choice["peak_bytes"] else ""
    return f"{choice['ms']['median']:.2f} ms{memory}"


if __name__ == "__main__":
    print(readme(), end="")
