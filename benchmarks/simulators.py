"""Networks in spikesim, NEST and Brian2 (C++ standalone), beside each other; prints JSON.

    python benchmarks/simulators.py --nest NEST/bin/python --brian BRIAN/bin/python --out FILE

The peers run in environments of their own (``requirements-nest.txt``, ``requirements-brian.txt``),
every measurement in a process of its own (``peers/``), one after the other in turns: all sides of
a network are measured in one run, or none. A figure is the median over ``--repeats``; processor
seconds of the run alone, all neurons recorded, and wall seconds of building the network, which for
Brian2 includes the compiler. ``--seeds N`` compares the distributions of rates, intervals and
correlations of N runs with N of NEST (``spike_statistics.py``); a file that has the times keeps
them.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keep
import machine
import torch
from spike_statistics import compare, of_file
from tables_simulators import simulators

PEERS = Path(__file__).parent / "peers"
OURS, NEST, BRIAN = keep.OURS, "NEST", "Brian2"
STATIC = "static"
STDP_BAR = 3.0
"""Processor time of a plastic network is at most so many times that of the static one."""
Side: TypeAlias = tuple[str, str]
"""Library and variant."""
FIGURES = ("cpu_s", "run_s", "build_s", "compile_s")
LONGEST_S = 3600.0
QUICK_MS, QUICK_SCALE = 20.0, 0.05


@dataclass(frozen=True)
class Network:
    """A network that all sides have.

    Args:
        name: as printed.
        recipe: ours, with its keys.
        script: of the peers, without the simulator's name, with its options.
        wanted: how many times less processor time than each of the peers, where there is an aim.
        threads: of each side.
        peers: that are measured.
        static: our recipe without plasticity, to be measured beside a plastic one.
    """

    name: str
    recipe: tuple[str, ...]
    script: tuple[str, ...]
    wanted: tuple[float, ...] = ()
    threads: int = 1
    peers: tuple[str, ...] = (NEST, BRIAN)
    static: tuple[str, ...] = ()

    def commands(self) -> dict[Side, list[str]]:
        """Script and options of each side."""
        found = {(OURS, ""): ["spikesim_network.py", "--recipe", *self.recipe]}
        if self.static:
            found[OURS, STATIC] = ["spikesim_network.py", "--recipe", *self.static]
        for peer in self.peers:
            script = f"{'nest' if peer == NEST else 'brian'}_{self.script[0]}.py"
            found[peer, ""] = [script, *self.script[1:]]
        return found


VA = "vogels_abbott"
BRUNEL = ("brunel",), ("brunel",)
PLASTIC = ("plastic_brunel",), ("brunel", "--stdp")
SPARSE = ("scale=10", "indegree=100"), ("izhikevich", "--neurons", "10000", "--indegree", "100")
DENSE = ("scale=10", "indegree=1000"), ("izhikevich", "--neurons", "10000", "--indegree", "1000")
NETWORKS = (
    Network("Brunel", *BRUNEL, (49.6 / 5, 19.0 / 5)),
    Network("Brunel with STDP", *PLASTIC, peers=(NEST,), static=("brunel",)),
    Network("CUBA", ("cuba",), (VA, "--synapses", "cuba"), (0.79 / 0.1, 0.13 / 0.1)),
    Network("COBA", ("coba",), (VA, "--synapses", "coba"), (11.6 / 0.26, 0.52 / 0.26)),
    Network("Izhikevich 1,000, all to all", ("izhikevich",), ("izhikevich",), (5.0, 0.04 / 0.03)),
    Network("Izhikevich 10,000 x 100", ("izhikevich", *SPARSE[0]), SPARSE[1], (1.6 / 0.27, 2.0)),
    Network("Izhikevich 10,000 x 1,000", ("izhikevich", *DENSE[0]), DENSE[1], (2.9, 2.9)),
    Network("microcircuit x 0.1", ("microcircuit", "scale=0.1"), ("microcircuit",), (12.2, 1.9)),
    Network("Brunel, two threads", *BRUNEL, (49.6 / 5,), threads=2, peers=(NEST,)),
)


class Bench:
    """One run of chosen networks and sides."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        pythons = {OURS: sys.executable, NEST: options.nest, BRIAN: options.brian}
        self.pythons = {library: path for library, path in pythons.items() if path}

    def row(self, network: Network) -> dict[str, Any]:
        """All sides of a network, in turns."""
        chosen = [side for side in network.commands() if side[0] in self.pythons]
        found: dict[Side, list[dict[str, Any]]] = {side: [] for side in chosen}
        for seed in range(1, self.options.repeats + 1):
            for side, lines in found.items():
                if not failed(lines):
                    lines.append(self.one(network, side, seed))
        sides = [summary(*side, lines) for side, lines in found.items()]
        row = {
            "row": network.name,
            "threads": network.threads,
            "wanted": {p: round(w, 2) for p, w in zip(network.peers, network.wanted, strict=False)},
            "sides": sides,
        }
        ours = sides[0]
        for other in sides[1:]:
            if "cpu_s" in ours and "cpu_s" in other:
                times = other["cpu_s"]["median"] / ours["cpu_s"]["median"]
                if other["variant"] == STATIC:
                    row |= {"times_static": round(1 / times, 2), "bar_static": STDP_BAR}
                else:
                    other["times_ours"] = round(times, 2)
        return row

    def one(
        self, network: Network, side: Side, seed: int, spikes: Path | None = None
    ) -> dict[str, Any]:
        """One measurement: the line that the script printed, or why there is none."""
        script, *rest = network.commands()[side]
        command = [self.pythons[side[0]], str(PEERS / script), *rest, "--seed", str(seed)]
        command += ["--threads", str(network.threads), "--ms", str(self.ms)]
        if self.options.quick:
            command += ["--scale", str(QUICK_SCALE)]
        if spikes is not None:
            command += ["--spikes", str(spikes)]
        plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "PYTHONPATH")}
        plain |= {"OMP_NUM_THREADS": str(network.threads), "PYNEST_QUIET": "1"}
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    cwd=folder,
                    env=plain,
                    timeout=LONGEST_S,
                    check=True,
                )
            except subprocess.TimeoutExpired:
                return {"status": f"failed: longer than {LONGEST_S:.0f} s"}
            except (OSError, subprocess.CalledProcessError) as error:
                last = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
                return {"status": f"failed: {last[:200]}"}
        line: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        spent = f"{line['cpu_s']} s, {line['rate_hz']} Hz ({time.perf_counter() - start:.0f} s)"
        print(f"{network.name}: {' '.join(side).strip()}: {spent}", file=sys.stderr, flush=True)
        return line

    @property
    def ms(self) -> float:
        """Biological time."""
        return QUICK_MS if self.options.quick else float(self.options.ms)

    def statistics(self, network: Network) -> dict[str, Any]:
        """Several runs of ours beside as many of NEST."""
        with tempfile.TemporaryDirectory() as folder:
            ours, peers = (
                self.recorded(network, library, self.options.seeds, Path(folder))
                for library in (OURS, NEST)
            )
            if failed(ours) or failed(peers):
                return next(lines[-1] for lines in (ours, peers) if failed(lines))
            return self.compared(ours, peers, self.ms / 10) | {"seeds": self.options.seeds}

    def recorded(
        self, network: Network, library: str, seeds: int, folder: Path
    ) -> list[dict[str, Any]]:
        """As many runs: what each printed, and in ``spikes`` where its spikes lie in the folder.

        What lies there already is not run again; a run that failed is the last.
        """
        lines: list[dict[str, Any]] = []
        for seed in range(1, seeds + 1):
            words = [library, *network.commands()[library, ""], f"{network.threads} threads"]
            name = re.sub(r"[^\w.=]+", "-", " ".join([*words, f"{self.ms:g} ms", f"seed {seed}"]))
            path = folder / f"{name}.npz"
            said = path.with_suffix(".json")
            if said.is_file():
                line = json.loads(said.read_text())
            else:
                line = self.one(network, (library, ""), seed, path)
                if not failed([line]):
                    keep.save(line, said)
            lines.append(line | {"spikes": path})
            if failed(lines):
                break
        return lines

    def compared(
        self, ours: list[dict[str, Any]], peers: list[dict[str, Any]], first_ms: float
    ) -> dict[str, Any]:
        """Distances between runs, of what came after the first time."""
        return compare(
            *(
                [of_file(line["spikes"], line["neurons"], self.ms, first_ms) for line in lines]
                for lines in (ours, peers)
            )
        )


def failed(lines: list[dict[str, Any]]) -> bool:
    """Whether the last measurement has no figure."""
    return bool(lines) and "status" in lines[-1]


def summary(library: str, variant: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """A side of a row: medians and spreads over its measurements."""
    out: dict[str, Any] = {"library": library, "variant": variant}
    if failed(lines):
        return out | lines[-1]
    kept = ("version", "neurons", "synapses", "biological_ms", "dtype")
    out |= {name: lines[0][name] for name in kept if name in lines[0]}
    for name in FIGURES:
        if name in lines[0]:
            values = [line[name] for line in lines]
            out[name] = {"median": statistics.median(values), "min": min(values)}
    for name in ("rate_hz", "cv_isi"):
        out[name] = [line[name] for line in lines]
    return out


def save(report: dict[str, Any], rows: dict[str, dict[str, Any]], path: Path | None) -> None:
    """Put the rows into the report, and that into its file."""
    report["rows"] = [rows[known.name] for known in NETWORKS if known.name in rows]
    keep.save(report, path)


def main() -> None:
    """Measure what is asked, saving after each network."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--nest", metavar="PYTHON", help="that imports NEST 3.10")
    options.add_argument("--brian", metavar="PYTHON", help="that imports Brian2 2.9")
    options.add_argument("--only", default="", metavar="REGEX", help="networks named like this")
    options.add_argument("--ms", type=float, default=1000.0, help="biological time")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--seeds", type=int, default=0, help="of both, for statistics; >= 2")
    options.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options.add_argument("--out", type=Path, help="keep the JSON here, and print tables")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    bench = Bench(chosen)
    head = {
        "benchmark": "simulators",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": "cpu",
        "quick": chosen.quick,
        "machine": machine.describe(torch.device("cpu")),
        "versions": machine.versions(),
        "settings": {"repeats": chosen.repeats, "biological_ms": bench.ms},
    }
    report = keep.resume(head, chosen.out)
    rows = {row["row"]: row for row in report.get("rows", [])}
    for network in NETWORKS:
        if not re.search(chosen.only, network.name):
            continue
        if network.name not in rows:
            rows[network.name] = bench.row(network)
            save(report, rows, chosen.out)
        row = rows[network.name]
        is_compared = chosen.seeds > 1 and NEST in bench.pythons and network.threads == 1
        if is_compared and row.get("statistics", {}).get("seeds") != chosen.seeds:
            row["statistics"] = bench.statistics(network)
            save(report, rows, chosen.out)
    print(json.dumps(report, indent=1) if chosen.out is None else "\n".join(simulators(report)))


if __name__ == "__main__":
    main()
