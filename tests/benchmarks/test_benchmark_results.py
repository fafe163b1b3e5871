"""Results are kept from run to run, and a ratio is one of two figures of the same run."""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
HEAD = {
    "benchmark": "neurons",
    "device": "cpu",
    "quick": True,
    "machine": {"processor": "p"},
    "versions": {"torch": "2"},
    "settings": {"tf32": True},
    "date": "2030-01-02",
}
Modules = Callable[[str], ModuleType]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Modules of the folder, as a script there imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_another_run_goes_on_with_the_file(modules: Modules, tmp_path: Path) -> None:
    keep, out = modules("keep"), tmp_path / "new" / "results.json"
    assert keep.resume(HEAD, out) == HEAD
    keep.save(HEAD | {"date": "2030-01-01", "rows": [1]}, out)
    assert keep.resume(HEAD, out) == HEAD | {"rows": [1]}
    with pytest.raises(SystemExit, match="versions differ: torch 2 there, 3 here; remove it"):
        keep.resume(HEAD | {"versions": {"torch": "3"}}, out)
    with pytest.raises(SystemExit, match="quick differ: True there, False here"):
        keep.resume(HEAD | {"quick": False}, out)


def test_a_side_without_time_never_replaces_a_figure(modules: Modules) -> None:
    keep = modules("keep")
    name = {"library": "spikesim", "variant": "auto"}
    late = {"status": "not measured: the time of this run was used up"}
    sides: list[dict[str, Any]] = []
    for figure in (late, {"ms": 1}, late, {"ms": 2}):
        keep.put(sides, name | figure)
    assert sides == [name | {"ms": 2}]
    assert keep.is_due(sides, **name), "ours is measured in every run"
    peer = {"library": "Norse", "variant": "LIF"}
    for figure, due in ((late, True), ({"status": "failed: it"}, False), ({"ms": 1}, False)):
        assert keep.is_due([peer | figure], **peer) is due


def test_neurons_measures_peers_once_and_ours_beside_them(modules: Modules) -> None:
    neurons, measure = modules("neurons"), modules("measure")
    run = measure.Run(torch.device("cpu"), 2, 1, True, False, float("inf"))
    row = neurons.Row("LIF", neurons.BOTH, torch.float32, (3, 2, 17))
    report: dict[str, Any] = {}
    found = []
    for among in ("torch loop", "torch"):
        bench = neurons.Bench(run, [row], report)
        for rank in range(3):
            list(bench.measure(rank, among=among))
        report = json.loads(json.dumps({"rows": bench.entries(bandwidth=10.0)}))
        sides = report["rows"][0]["sides"]
        found.append({f"{side['library']} {side['variant']}": side for side in sides})
    first, second = found
    assert list(first) == ["spikesim auto", "torch loop"]
    assert list(second) == ["spikesim auto", "torch loop", "torch compile"]
    assert second["torch loop"] == first["torch loop"]
    assert second["spikesim auto"]["ms"] != first["spikesim auto"]["ms"]
    for name, of in (("torch loop", first), ("torch compile", second)):
        ratio = of[name]["ms"]["median"] / of["spikesim auto"]["ms"]["median"]
        assert second[name]["times_ours"] == pytest.approx(ratio, abs=1e-4)


def test_slow_calls_are_repeated_less_often(
    modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = modules("measure")
    monkeypatch.setattr(measure, "SLOW_S", 0.01)
    monkeypatch.setattr(measure, "SLOW_TOTAL_S", 0.1)
    run = measure.Run(torch.device("cpu"), 20, 3, False, False, float("inf"))

    def work(pauses: Iterator[float]) -> Callable[[], None]:
        return lambda: time.sleep(next(pauses, 0.0))

    assert len(measure.times(lambda: time.sleep(0.02), run)) in (3, 4, 5)
    assert len(measure.times(work(iter([0.02])), run)) == 20, "the first call compiles"
    assert measure.summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "repeats": 3}
    side = {"library": "A", "variant": "b", "ms": {"repeats": 3}}
    report = {"settings": {"repeats": 20}, "rows": [{"sides": [side]}]}
    assert "A b (3 or more)" in modules("tables_neurons").slow(report)[0]


def test_memory_that_is_not_there_is_said(modules: Modules) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")
    assert modules("measure").failure(error) == "failed: needs more memory than this GPU has"


def test_attention_keeps_each_size(
    modules: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, attention = tmp_path / "attention.json", modules("attention")
    command = ["attention.py", "--device", "cpu", "--quick", "--threads", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    measured = attention.one_size

    def one_and_a_half(*arguments: Any) -> Any:
        if out.exists():
            raise KeyboardInterrupt
        return measured(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(attention, "one_size", one_and_a_half)
        with pytest.raises(KeyboardInterrupt):
            attention.main()
    (first,) = json.loads(out.read_text())["runs"]
    attention.main()
    runs = json.loads(out.read_text())["runs"]
    assert runs[0] == first
    assert len({(run["size"]["what"], run["layout"]) for run in runs}) == len(runs) == 4
    assert all(run["exact"] for run in runs)
