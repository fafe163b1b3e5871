"""Brunel's network with STDP: the network of the recipe, and the script that measures it."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikesim.network.recipes import brunel

FOLDER = Path(__file__).parents[2] / "benchmarks"
# A script finds its neighbours as it does for a user: in its own folder.
PLAIN = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
RULES = ["static", "additive", "multiplicative", "power law"]
Modules = Callable[[str], ModuleType]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Modules of the folder, as a script there imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_only_synapses_between_excitatory_neurons_are_added_to_the_recipe(modules: Modules) -> None:
    own = modules("peers.plastic_brunel")
    recipe, static = (
        brunel(scale=0.02, seed=3),
        own.plastic_brunel(rule="static", scale=0.02, seed=3),
    )
    probes = [net.probe(net.groups[0], "spikes") for net in (recipe, static)]
    for net in (recipe, static):
        net.run(40.0)
    assert probes[0].times.size > 100
    np.testing.assert_array_equal(probes[0].times, probes[1].times)
    np.testing.assert_array_equal(probes[0].senders, probes[1].senders)
    plastic = own.plastic_brunel(scale=0.02, seed=3).projections
    assert [projection.is_plastic for projection in plastic] == [True, False, False, False]
    for before, after in zip(recipe.projections, plastic, strict=True):
        np.testing.assert_array_equal(before.indptr, after.indptr)
        np.testing.assert_array_equal(before.place, after.place)


def test_all_rules_on_a_cpu(tmp_path: Path, modules: Modules) -> None:
    out = tmp_path / "plastic_h200.json"
    small = ("scale=0.02", "seconds=0.05", "warm=0.02", "repeats=2", "threads=1", "device=cpu")
    command = [sys.executable, str(FOLDER / "plastic_gpu.py"), *small, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=PLAIN, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(out.read_text())
    assert json.loads(done.stdout) == report
    sizes = [report[name] for name in ("neurons", "synapses", "plastic", "bar")]
    assert sizes == [250, 250 * 1250, 200 * 1000, 3.0]
    static, *plastic = report["rows"]
    assert [row["rule"] for row in report["rows"]] == RULES
    assert static["weights"] == {}
    for row in report["rows"]:
        assert len(row["run_s"]["all"]) == 2
        assert row["run_s"]["median"] == pytest.approx(np.mean(row["run_s"]["all"]))
        assert row["us_per_step"] == pytest.approx(1e6 * row["run_s"]["median"] / 500)
        ratio = row["run_s"]["median"] / static["run_s"]["median"]
        assert row["times_static"] == pytest.approx(ratio)
        assert (row["held_bytes"], row["kernels"]) == (0, [])
        assert 0 < row["rates_hz"]["excitatory"] < 200
    for row in plastic:
        w = row["weights"]
        assert 0 <= w["min"] < w["mean"] < w["max"] < 0.2001
        assert 0 < w["std"] < 0.05
    # What the table shows of a GPU is made up here; there is none.
    report["machine"] |= {"gpu": "a GPU", "driver": "1", "cuda": "13"}
    plastic[0] |= {"kernels": [{"name": "deliver", "calls": 7, "us": 1.5}], "times_static": 2.5}
    out.write_text(json.dumps(report))
    text = modules("tables").readme(tmp_path)
    line = next(line for line in text.splitlines() if line.startswith("| additive |"))
    assert f"| {plastic[0]['us_per_step']:.2f} | 2.50 x |" in line
    assert "- additive: `deliver` 1.50 (7 calls)" in text
    out.unlink()
    assert "no figures yet: `python benchmarks/plastic_gpu.py`" in modules("tables").readme(
        tmp_path
    )
