"""Networks are measured in processes of their own, and statistics are those of the package."""

import importlib
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from spikesim.network import FixedProbability, Network, correlation, cv_isi, rates
from spikesim.neurons import LIFDelta

FOLDER = Path(__file__).parents[2] / "benchmarks"
Modules = Callable[[str], ModuleType]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Modules of the folder, as a script there imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_a_quick_run_without_peers_has_our_figures(tmp_path: Path, modules: Modules) -> None:
    out = tmp_path / "simulators_cpu.json"
    command = [sys.executable, str(FOLDER / "simulators.py"), "--quick", "--repeats", "1"]
    command += ["--only", "CUBA|all to all", "--brian", "/no/python", "--out", str(out)]
    # A script finds its neighbours as it does for a user: in its own folder.
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(out.read_text())
    assert [row["row"] for row in report["rows"]] == ["CUBA", "Izhikevich 1,000, all to all"]
    for row in report["rows"]:
        ours, brian = row["sides"]
        assert ours["library"] == "spikesim"
        assert ours["neurons"] in (200, 50)
        assert min(ours[name]["median"] for name in ("build_s", "run_s", "cpu_s")) > 0
        assert brian["status"].startswith("failed: ")
        assert "/no/python" in brian["status"]
    text = modules("tables").readme(tmp_path)
    assert "| CUBA | 0." in text


def test_every_network_has_a_script_of_each_simulator(modules: Modules) -> None:
    simulators = modules("simulators")
    for network in simulators.NETWORKS:
        commands = network.commands()
        assert {library for library, _ in commands} == {simulators.OURS, *network.peers}
        for command in commands.values():
            assert (FOLDER / "peers" / command[0]).is_file()


def test_a_plastic_row_has_its_static_network_beside_it(tmp_path: Path, modules: Modules) -> None:
    out = tmp_path / "simulators_cpu.json"
    command = [sys.executable, str(FOLDER / "simulators.py"), "--quick", "--repeats", "2"]
    command += ["--only", "STDP", "--nest", "/no/python", "--brian", "/no/python"]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = [line.split(":")[1].strip() for line in done.stderr.splitlines()]
    assert measured == ["spikesim", "spikesim static"] * 2, "not in turns"
    (row,) = json.loads(out.read_text())["rows"]
    ours, static, nest = row["sides"]
    assert [ours["variant"], static["variant"], nest["library"]] == ["", "static", "NEST"]
    assert ours["synapses"] == static["synapses"] == 625 * 1250
    ratio = ours["cpu_s"]["median"] / static["cpu_s"]["median"]
    assert row["times_static"] == pytest.approx(ratio, abs=0.01)
    nest |= {"cpu_s": {"median": 2.0}, "times_ours": 7.0}
    text = "\n".join(modules("tables").simulators(json.loads(out.read_text()) | {"rows": [row]}))
    seconds = [f"{side['cpu_s']['median']:.3g}" for side in (ours, static)]
    cell = f"{seconds[0]} ({row['times_static']:.2f} x static {seconds[1]}, wanted at most 3 x)"
    assert f"| Brunel with STDP | {cell} | 2 (7.0 x) |  |" in text


def test_statistics_are_those_of_the_package(modules: Modules) -> None:
    statistics = modules("spike_statistics")
    net = Network(seed=1)
    cells = net.population(LIFDelta(), 60)
    net.connect(cells, cells, FixedProbability(0.2), weight=0.3, delay=1.0)
    net.poisson(cells, rate=9_000.0, weight=0.2)
    net.run(100.0)
    probe = net.probe(cells, "spikes")
    net.run(400.0)
    found = statistics.statistics(probe.times, probe.senders, 60, 500.0, 100.0)
    assert found["rate"] == pytest.approx(rates(probe))
    cv = cv_isi(probe)
    assert found["cv"] == pytest.approx(cv[~np.isnan(cv)])
    assert found["cv"].size > 50
    ours, theirs = np.sort(correlation(probe, 5.0)), np.sort(found["correlation"])
    assert theirs.size == ours.size == 60 * 59 / 2
    # A spike at the edge of a bin may fall on either side: the package counts steps, this ms.
    assert np.abs(ours - theirs).mean() < 0.02


def test_distances_are_of_kolmogorov_and_smirnov(modules: Modules) -> None:
    statistics = modules("spike_statistics")
    random = np.random.default_rng(0)
    a, b = random.normal(0.0, 1.0, 400), random.normal(1.0, 1.0, 300)
    grid = np.linspace(-5, 6, 20_001)
    by_hand = np.abs((a[:, None] <= grid).mean(0) - (b[:, None] <= grid).mean(0)).max()
    assert statistics.distance(a, b) == pytest.approx(by_hand, abs=0.004)
    assert statistics.distance(a, a) == 0.0
    assert statistics.distance(a, a[:0]) == 1.0
    found = statistics.compare([{"rate": b}], [{"rate": a}, {"rate": a[:200]}])["rate"]
    assert found["within_peer"] < 0.1 < 0.3 < found["to_peer"]


def test_runs_whose_spikes_are_kept_are_not_made_again(
    modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulators = modules("simulators")
    network = simulators.Network("liquid", ("liquid", "scale=1"), ("liquid",))
    made: list[int] = []

    def one(bench: object, network: object, side: object, seed: int, path: Path) -> dict[str, Any]:
        made.append(seed)
        if seed == 3:
            return {"status": "failed: no memory"}
        trains = np.arange(100.0 * seed) / seed, np.tile(np.arange(50, dtype=np.int32), 2 * seed)
        np.savez(path, time_ms=trains[0], index=trains[1])
        return {"neurons": 50}

    monkeypatch.setattr(simulators.Bench, "one", one)
    bench = simulators.Bench(Namespace(nest="python", brian=None, quick=False, ms=100.0))
    ours = bench.recorded(network, "spikesim", 2, tmp_path)
    again = bench.recorded(network, "spikesim", 3, tmp_path)
    assert again[:2] == ours
    assert simulators.failed(again)
    peers = bench.recorded(network, "NEST", 2, tmp_path)
    assert made == [1, 2, 3, 1, 2]
    rate = bench.compared(ours, peers, 10.0)["rate"]  # apart, or the same
    assert rate == {"to_peer": 0.5, "within_peer": 1.0}
