"""Tables of ``simulators.py``."""

from typing import Any

from tables_text import MISSING, table

OURS, PEERS = "spikesim", ("NEST", "Brian2")


def simulators(report: dict[str, Any] | None) -> list[str]:
    """Time of a run, time to build, and how far the spikes are from NEST's."""
    out = ["## Networks beside NEST and Brian2\n"]
    if report is None:
        return [*out, f"{MISSING}: `python benchmarks/simulators.py`\n"]
    settings = report["settings"]
    rows = [row for row in report["rows"] if row["threads"] == 1]
    versions = {s["library"]: s["version"] for row in rows for s in row["sides"] if "version" in s}
    names = ", ".join(f"{library} {version}" for library, version in versions.items())
    machine = report["machine"]
    out += [
        f"{machine['processor']}, {machine['cores']} cores; {report['date']}; {names}; medians of "
        f"{settings['repeats']} processes each, one thread unless said otherwise.\n",
        f"Processor seconds of {settings['biological_ms'] / 1e3:g} s of biological time, all "
        "spikes recorded; in brackets how many times ours that is, and how many it should be at "
        "least:\n",
        table(["network", OURS, *PEERS], [[row["row"], *times(row)] for row in rows]),
        "Wall seconds to build it (Brian2: of which generating and compiling C++):\n",
        table(["network", OURS, *PEERS], [[row["row"], *builds(row)] for row in rows]),
        "Mean rate and variation of the intervals:\n",
        table(["network", OURS, *PEERS], [[row["row"], *activity(row)] for row in rows]),
    ]
    for two in (row for row in report["rows"] if row["threads"] == 2):
        one = next((row for row in rows if f"{row['row']}, two threads" == two["row"]), None)
        if one is not None:
            out += [
                f"{one['row']}, wall seconds on one and on two threads:\n",
                table([OURS, "NEST"], [[speedup(one, two, name) for name in (OURS, "NEST")]]),
            ]
    compared = [row for row in rows if "rate" in row.get("statistics", {})]
    if compared:
        out += [
            "Kolmogorov-Smirnov distance to NEST, the median over pairs of seeds, and in brackets "
            "the largest between two of NEST's:\n",
            table(["network", "rate", "CV", "correlation"], [distances(row) for row in compared]),
        ]
    return out


def of(row: dict[str, Any], library: str) -> dict[str, Any]:
    """A side, empty if there is none; of two of ours the plastic one, which is first."""
    return next((side for side in row["sides"] if side["library"] == library), {})


def times(row: dict[str, Any]) -> list[str]:
    """Processor seconds of each side."""
    cells = [seconds(of(row, OURS), "cpu_s") + plasticity(row)]
    for library in PEERS:
        peer = of(row, library)
        ratio = ""
        if "times_ours" in peer:
            aim = f", wanted {row['wanted'][library]:.1f}" if library in row["wanted"] else ""
            ratio = f" ({peer['times_ours']:.1f} x{aim})"
        cells.append(seconds(peer, "cpu_s") + ratio)
    return cells


def plasticity(row: dict[str, Any]) -> str:
    """What plasticity costs, where the static network was measured beside it."""
    if "times_static" not in row:
        return ""
    static = next(side for side in row["sides"] if side["variant"] == "static")
    ratio = f"{row['times_static']:.2f} x static {seconds(static, 'cpu_s')}"
    return f" ({ratio}, wanted at most {row['bar_static']:g} x)"


def speedup(one: dict[str, Any], two: dict[str, Any], library: str) -> str:
    """What a second thread gives."""
    sides = of(one, library), of(two, library)
    if not all("run_s" in side for side in sides):
        return ""
    before, after = (side["run_s"]["median"] for side in sides)
    return f"{before:.3g}, {after:.3g} ({before / after:.2f} x)"


def builds(row: dict[str, Any]) -> list[str]:
    """Wall seconds until the run."""
    cells = [seconds(of(row, library), "build_s") for library in (OURS, *PEERS)]
    compiling = seconds(of(row, "Brian2"), "compile_s")
    return [*cells[:-1], cells[-1] + (f" ({compiling})" if compiling else "")]


def seconds(side: dict[str, Any], name: str) -> str:
    """A median, or why there is none."""
    if name in side:
        return f"{side[name]['median']:.3g}"
    return str(side.get("status", "")).replace("|", " ")


def activity(row: dict[str, Any]) -> list[str]:
    """Rates and coefficients of variation, means over the seeds."""
    cells = []
    for side in (of(row, library) for library in (OURS, *PEERS)):
        if "rate_hz" not in side:
            cells.append("")
            continue
        rate, cv = side["rate_hz"], [value for value in side["cv_isi"] if value is not None]
        variation = f", CV {sum(cv) / len(cv):.2f}" if cv else ""
        cells.append(f"{sum(rate) / len(rate):.2f} Hz{variation}")
    return cells


def distances(row: dict[str, Any]) -> list[str]:
    """Ours to NEST, and NEST to NEST."""
    found = (row["statistics"][name] for name in ("rate", "cv", "correlation"))
    name = f"{row['row']}, {row['statistics']['seeds']} seeds"
    return [name, *(f"{one['to_peer']:.3f} ({one['within_peer']:.3f})" for one in found)]
