"""Table of ``microcircuit_gpu.py``."""

from typing import Any

from tables_text import MISSING, table

BARS = {"real_time_factor": 0.2, "biological_s_per_s": 40.0, "build_s": 10.0}
"""At most, at least and at most."""
HEAD = [
    *("networks", "neurons", "synapses", "build", "biological time", "run"),
    *("wall over biological time", "biological s in a s", "us a step", "GPU memory"),
]


def microcircuit(single: dict[str, Any] | None, batch: dict[str, Any] | None) -> list[str]:
    """One network, and several of different seeds at once."""
    out = ["## The cortical microcircuit on a GPU\n"]
    reports = [report for report in (single, batch) if report is not None]
    if not reports:
        return [*out, f"{MISSING}: `python benchmarks/microcircuit_gpu.py`\n"]
    first = reports[0]
    machine, versions = first["machine"], first["versions"]
    named = ", ".join(f"{k} {versions[k]}" for k in ("python", "torch", "cupy-cuda13x", "spikesim"))
    return [
        *out,
        f"{machine['gpu']}, driver {machine['driver']}, CUDA {machine['cuda']}; {first['date']}; "
        f"{named}. The model of Potjans and Diesmann (2014), Poisson drive, steps of 0.1 ms, "
        "without recording; building is connecting, compiling and the first step. The fastest GPU "
        f"published needs {first['published_real_time_factor']} s for a second (RTX 4090, GeNN).\n",
        table(
            HEAD,
            [line(report) for report in reports],
        ),
        "Mean rates over one more second, Hz: "
        + ", ".join(f"{name} {rate:.2f}" for name, rate in first["rates_hz"].items())
        + ".\n",
    ]


def line(report: dict[str, Any]) -> list[str]:
    """Of one run."""
    batch = report["batch"]
    bar = {
        "real_time_factor": f" (aim {BARS['real_time_factor']})" if batch == 1 else "",
        "biological_s_per_s": f" (aim {BARS['biological_s_per_s']:g})" if batch > 1 else "",
    }
    return [
        str(batch),
        f"{report['neurons']:,}",
        f"{report['synapses']:,}",
        f"{report['build_s']:.2f} s (aim {BARS['build_s']:g})",
        f"{report['seconds']:g} s",
        f"{report['run_s']:.3f} s",
        f"{report['real_time_factor']:.4f}{bar['real_time_factor']}",
        f"{report['biological_s_per_s']:.1f}{bar['biological_s_per_s']}",
        f"{report['us_per_step']:.2f}",
        f"{report['memory_gib']:.1f} GiB",
    ]
