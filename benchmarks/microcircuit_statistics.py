"""Spikes of the cortical microcircuit on a GPU beside NEST's, by their distributions; prints JSON.

    python benchmarks/microcircuit_statistics.py nest=NEST/bin/python threads=16 --out FILE

Rates, variations of intervals and correlations of counts (``spike_statistics.py``) of all neurons,
recorded in ``seeds`` networks of ours and as many of NEST's. Keys: ``nest`` (a Python that imports
NEST 3.10), ``seeds``, ``seconds`` of biological time, of which the first 0.5 s are left out,
``scale`` of neurons and inputs, ``threads`` of NEST, ``device``; ``spikes``, a folder that keeps
the spikes of each run: a run whose spikes lie there is not made again; ``times=0`` leaves seconds
out, on a machine that does other work too.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import keys
from simulators import NEST, OURS, Bench, Network, failed

KEYS: dict[str, Any] = {"nest": "", "seeds": 2, "seconds": 3.0, "scale": 1.0, "threads": 1}
KEYS |= {"device": "cuda", "spikes": "", "times": 1}
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
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given["spikes"] or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        runs = {}
        for library in (OURS, NEST):
            runs[library] = bench.recorded(network, library, given["seeds"], folder)
            if failed(runs[library]):
                raise SystemExit(f"{library}: {runs[library][-1]['status']}")
        statistics = bench.compared(runs[OURS], runs[NEST], LEFT_OUT_MS)
    kept = ("simulator", "version", "neurons", "synapses", "rate_hz", "cv_isi")
    kept += ("run_s", "build_s") if given["times"] else ()
    return {
        **{key: value for key, value in given.items() if key not in ("nest", "spikes", "times")},
        "statistics": statistics,
        "runs": [
            {k: line[k] for k in kept if k in line} for lines in runs.values() for line in lines
        ],
    }


if __name__ == "__main__":
    keys.report(__doc__, "microcircuit_statistics", KEYS, measured)
