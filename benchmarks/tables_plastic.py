"""Table of ``plastic_gpu.py``."""

from typing import Any

from tables_text import MISSING, table

KERNELS = 3
"""The longest, of those that are kept."""
HEAD = ["STDP", "us a step", "of static", "weights", "rate E, I", "GPU memory", "build"]


def plastic(report: dict[str, Any] | None) -> list[str]:
    """A line for each rule, and what its time goes to."""
    out = ["## Brunel's network with STDP on a GPU\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/plastic_gpu.py`\n"]
    machine, versions, rows = report["machine"], report["versions"], report["rows"]
    named = ", ".join(f"{k} {versions[k]}" for k in ("python", "torch", "cupy-cuda13x", "spikesim"))
    return [
        *out,
        f"{machine['gpu']}, driver {machine['driver']}, CUDA {machine['cuda']}; {report['date']}; "
        f"{named}. {report['neurons']:,} neurons, {report['synapses']:,} synapses, of which "
        f"{report['plastic']:,} between excitatory neurons are plastic, delay 1.5 ms, steps of "
        f"0.1 ms; medians of {report['repeats']} turns of {report['seconds']:g} s, without "
        f"recording; wanted at most {report['bar']:g} x static.\n",
        table(HEAD, [line(row) for row in rows]),
        "Longest kernels, us a call:\n",
        "\n".join(f"- {row['rule']}: {kernels(row)}" for row in rows) + "\n",
    ]


def line(row: dict[str, Any]) -> list[str]:
    """Of one rule."""
    w = row["weights"]
    spread = f"{w['mean']:.4f} ± {w['std']:.4f} mV, {w['min']:.3f} to {w['max']:.3f}" if w else ""
    return [
        row["rule"],
        f"{row['us_per_step']:.2f}",
        f"{row['times_static']:.2f} x",
        spread,
        ", ".join(f"{rate:.1f}" for rate in row["rates_hz"].values()) + " Hz",
        f"{row['held_bytes'] / 2**20:.0f} MiB",
        f"{row['build_s']:.2f} s",
    ]


def kernels(row: dict[str, Any]) -> str:
    """Names, times and numbers of calls."""
    longest = row["kernels"][:KERNELS]
    return ", ".join(f"`{k['name'][:40]}` {k['us']:.2f} ({k['calls']} calls)" for k in longest)
