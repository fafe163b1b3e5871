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


def beside_nest(report: dict[str, Any] | None) -> list[str]:
    """Whether its spikes are NEST's, by their distributions."""
    if report is None:
        return [f"{MISSING}: `python benchmarks/microcircuit_statistics.py nest=PYTHON`\n"]
    statistics, runs = report["statistics"], report["runs"]
    rows = [
        [
            run["simulator"],
            f"{run['rate_hz']:.3f} Hz",
            f"{run['cv_isi']:.3f}",
            f"{run['run_s']:.3g} s" if "run_s" in run else "",
        ]
        for run in runs
    ]
    distances = ", ".join(
        f"{name} {found['to_peer']:.4f} ({found['within_peer']:.4f})"
        for name, found in statistics.items()
    )
    return [
        f"Recorded, scale {report['scale']:g}, {report['seconds']:g} s of which the first 0.5 s "
        f"are left out of the distributions; NEST on {report['threads']} threads of the same "
        "machine.\n",
        table(["simulator", "rate", "CV", "run"], rows),
        "Kolmogorov-Smirnov distance of all neurons' distributions to NEST's, the median over "
        f"pairs of {report['seeds']} seeds each, and in brackets the largest between NEST's own: "
        f"{distances}.\n",
    ]


def several(report: dict[str, Any] | None) -> list[str]:
    """Networks divided among GPUs."""
    out = ["## Networks on several GPUs\n"]
    if report is None:
        return [*out, f"{MISSING}: `torchrun --nproc-per-node 2 benchmarks/several_gpus.py`\n"]
    rows = [
        [
            row["row"],
            f"{row['divided_s']:.3f} s",
            f"{row['whole_s']:.3f} s",
            f"{row['spikes']:,}",
            "the same" if row["same_spikes"] else "NOT THE SAME",
        ]
        for row in report["rows"]
    ]
    return [
        *out,
        f"{report['gpus']} x {report['machine']['gpu']}; {report['date']}; {report['ms']:g} ms of "
        f"biological time at scale {report['scale']:g}. An exchange by NCCL takes "
        f"{report['exchange_us']:.1f} us by itself, as long as a step of a network that fits one "
        "GPU: dividing is for those that do not.\n",
        table(["network", f"{report['gpus']} GPUs", "1 GPU", "spikes", "are"], rows),
    ]
