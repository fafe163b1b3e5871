"""Spikes of the cortical microcircuit on a GPU beside NEST's, by their distributions; prints JSON.

    python benchmarks/microcircuit_statistics.py nest=NEST/bin/python threads=16 --out FILE

Rates, variations of intervals and correlations of counts (``spike_statistics.py``) of all neurons,
recorded in ``seeds`` networks of ours and as many of NEST's. Keys: ``nest`` (a Python that imports
NEST 3.10), ``seeds``, ``seconds`` of biological time, of which the first 0.5 s are left out,
``scale`` of neurons and inputs, ``threads`` of NEST, ``device``.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import keys
from simulators import NEST, OURS, Bench, Network, failed
from spike_statistics import compare, of_file

KEYS: dict[str, Any] = {"nest": "", "seeds": 2, "seconds": 3.0, "scale": 1.0, "threads": 1}
KEYS |= {"device": "cuda"}
LEFT_OUT_MS = 500.0


def measured(given: dict[str, Any]) -> dict[str, Any]:
    """Run both sides, and compare them.

    Raises:
        SystemExit: no NEST, or a run that failed.
    """
    if not given["nest"]:
        raise SystemExit("nest=PYTHON must name a Python that imports NEST 3.10")
    ms = 1e3 * given["seconds"]
    recipe = "microcircuit", f"scale={given['scale']}", f"device={given['device']!r}"
    script = "microcircuit", "--size", str(given["scale"])
    network = Network("microcircuit", recipe, script, threads=given["threads"], peers=(NEST,))
    bench = Bench(argparse.Namespace(nest=given["nest"], brian=None, quick=False, ms=ms))
    samples: dict[str, list[Any]] = {OURS: [], NEST: []}
    lines: dict[str, list[dict[str, Any]]] = {OURS: [], NEST: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spikes.npz"
        for library, found in samples.items():
            for seed in range(1, given["seeds"] + 1):
                line = bench.one(network, (library, ""), seed, path)
                if failed([line]):
                    raise SystemExit(f"{library}: {line['status']}")
                lines[library].append(line)
                found.append(of_file(path, line["neurons"], ms, LEFT_OUT_MS))
    kept = ("simulator", "version", "neurons", "synapses", "rate_hz", "cv_isi", "run_s", "build_s")
    return {
        **{key: value for key, value in given.items() if key != "nest"},
        "statistics": compare(samples[OURS], samples[NEST]),
        "runs": [
            {k: line[k] for k in kept if k in line} for found in lines.values() for line in found
        ],
    }


if __name__ == "__main__":
    keys.report(__doc__, "microcircuit_statistics", KEYS, measured)
