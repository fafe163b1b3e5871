"""The benchmarks run, every side has a figure or says why not, and the README is theirs."""

import importlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
LEGAL = ("not installed: ", "not measured: ")
GPU_ONLY = ("precision API",)


def run(script: str, out: Path) -> dict[str, Any]:
    """The JSON of a quick run, in another process."""
    command = [sys.executable, str(FOLDER / script), "--device", "cpu", "--quick", "--threads", "1"]
    # A script finds its neighbours as it does for a user: in its own folder.
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command += ["--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(out.read_text())
    assert report["quick"]
    assert {"processor", "cores", "threads"} <= report["machine"].keys()
    assert {"tf32", "repeats"} <= report["settings"].keys()
    return report


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def neurons_report(results: Path) -> dict[str, Any]:
    return run("neurons.py", results / "neurons_cpu.json")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Modules of the folder, as a script there imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def check_sides(sides: list[dict[str, Any]], figure: str) -> None:
    for side in sides:
        name = f"{side['library']} {side['variant']}"
        assert figure in side or side["status"].startswith(LEGAL), (name, side.get("status"))
        if side["library"] in ("spikesim", "torch"):
            assert figure in side or side["status"].startswith("not measured: "), name
    assert any(figure in side for side in sides if side["library"] == "spikesim")


def test_neurons_measures_every_side(
    neurons_report: dict[str, Any], results: Path, modules: Callable[[str], ModuleType]
) -> None:
    models = {row["model"] for row in neurons_report["rows"]}
    assert models == {"LIF", "custom (QIF)"}
    for row in neurons_report["rows"]:
        check_sides(row["sides"], "ms")
        factor = 2 if row["what"] == "forward" else 5
        assert row["traffic_bytes"] == factor * row["input_bytes"]
        ours = next(side for side in row["sides"] if side["library"] == "spikesim")
        loop = next(side for side in row["sides"] if side["variant"] == "loop")
        assert ours["rate"] == loop["rate"] > 0, row["row"]
        speed = row["traffic_bytes"] / ours["ms"]["median"] / 1e6
        assert ours["gb_per_s"] == pytest.approx(speed, abs=0.1)
    tables = modules("tables")
    text = tables.readme(results)
    assert "custom (QIF) forward + backward, float32, 3 x 2 x 17" in text
    aimed = [row for row in neurons_report["rows"] if row["bar"] is not None]
    on_gpu = "\n".join(tables.neurons_on_gpu({**neurons_report, "rows": aimed}))
    assert re.search(r"LIF forward, float32, 3 x 2 x 17 \| 0.88 \| \d+\.\d\d \(", on_gpu)
    assert re.search(r"bfloat16, 3 x 2 x 17, eager \| 120 \| \d+\.\d \|", on_gpu)


@pytest.mark.peers
@pytest.mark.parametrize("model", ["LIF", "PLIF", "ALIF", "CUBALIF", "Izhikevich", "custom (QIF)"])
def test_peers_fire_as_we_do(model: str, modules: Callable[[str], ModuleType]) -> None:
    """Every side runs forward and backward; where the model is the same, so are the spikes."""
    for name in ("spikingjelly", "snntorch", "norse"):
        pytest.importorskip(name, reason=f"needs {name}: see requirements-peers.txt")
    device, spikes = torch.device("cpu"), {}
    for side in modules("sides").sides_of(model, "eager"):
        if side.gpu_only or side.variant in ("auto", "compile"):
            continue
        for dtype in (torch.float32, torch.bfloat16):
            if dtype not in side.dtypes:
                continue
            drive = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
            x = (drive * side.drive[1] + side.drive[0]).to(dtype).requires_grad_()
            s = side.make(device, dtype)(x)
            s.backward(torch.ones_like(s))
            assert s.shape == x.shape
            assert x.grad is not None
            assert x.grad.abs().sum() > 0
            assert set(s.unique().tolist()) <= {0.0, 1.0}
            if dtype == torch.float32:
                spikes[side.name] = s.detach()
    same = [s for name, s in spikes.items() if "SpikingJelly" in name and "Izhi" not in name]
    for s in same:
        torch.testing.assert_close(s, spikes["torch loop"], rtol=0, atol=0)
    assert same or model == "Izhikevich"


def test_a_missing_peer_says_so(
    modules: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("spikingjelly", "snntorch", "norse"):
        for module in [name, *(m for m in sys.modules if m.startswith(f"{name}."))]:
            monkeypatch.setitem(sys.modules, module, None)
    entry = lif_row(modules, deadline=math.inf)
    found = {side["library"]: side.get("status") for side in entry["sides"]}
    assert found["SpikingJelly"] == "not installed: spikingjelly"
    assert found["snnTorch"] == "not installed: snntorch"
    assert found["Norse"] == "not installed: norse"
    assert found["spikesim"] is None
    assert "not installed: norse" in modules("tables_text").troubles([entry])[1]


def test_time_that_is_used_up_is_said(modules: Callable[[str], ModuleType]) -> None:
    entry = lif_row(modules, deadline=0.0)
    status = "not measured: the time of this run was used up"
    assert {side["status"] for side in entry["sides"]} == {status}


def lif_row(modules: Callable[[str], ModuleType], deadline: float) -> dict[str, Any]:
    """One row, measured in this process, without compilers."""
    neurons, measure = modules("neurons"), modules("measure")
    quick = measure.Run(torch.device("cpu"), 2, 1, True, False, deadline)
    row = neurons.Row("LIF", neurons.FORWARD, torch.float32, (3, 2, 17))
    bench = neurons.Bench(quick, [row], {})
    for rank in (0, 1):
        list(bench.measure(rank))
    found: dict[str, Any] = bench.entries(bandwidth=10.0)[0]
    return found


def test_memory_counts_what_is_saved(results: Path, modules: Callable[[str], ModuleType]) -> None:
    report = run("memory.py", results / "memory_h200.json")
    for row in report["rows"]:
        check_sides(row["sides"], "saved_bytes")
        of = {side["variant"]: side.get("saved_over_input") for side in row["sides"]}
        # The loop keeps at least a membrane a step; a fused kernel its checkpoints only.
        assert of["loop"] >= 1.0
        if row["shape"][0] <= 16:
            assert of["auto"] == 0.0, row["model"]
    assert "ALIF, float32, 4 x 40" in modules("tables").readme(results)


def test_training_step_compares_the_same_network(
    results: Path, modules: Callable[[str], ModuleType]
) -> None:
    report = run("training_step.py", results / "training_step_h200.json")
    for row in report["rows"]:
        ours, theirs = row["sides"]
        tried = [*ours["tried"], *theirs["tried"]]
        for choice in tried:
            known = choice["neurons"] in GPU_ONLY or choice.get("status", "").startswith(LEGAL)
            assert "ms" in choice or known, choice
        assert "ms" in ours["best"]
        losses = [choice["loss_first"] for choice in tried if "loss_first" in choice]
        # Half precision rounds the membrane differently on each side.
        assert max(losses) - min(losses) < (1e-4 if row["dtype"] == "float32" else 0.1)
    assert "fused kernels, NCHW" in modules("tables").readme(results)


def test_counting_and_its_energy(results: Path, modules: Callable[[str], ModuleType]) -> None:
    report = run("energy.py", results / "energy_h200.json")
    assert {row["model"] for row in report["overhead"]} == {"spikformer", "sdt"}
    for row in report["overhead"]:
        ratio = row["counted"]["median"] / row["forward"]["median"]
        assert row["counted_over_forward"] == pytest.approx(ratio, abs=1e-3)
    assert all(row["gb_per_s"] >= 0 for row in report["tally"])
    (step,) = report["step"]
    assert step["status"] == "not measured: no CUDA device here"
    assert "sdt, bfloat16" in modules("tables").readme(results)


def test_the_readme_is_printed_from_the_results(modules: Callable[[str], ModuleType]) -> None:
    printed = modules("tables").readme()
    assert printed == (FOLDER / "README.md").read_text(), (
        "run python benchmarks/tables.py > benchmarks/README.md"
    )
    for path in (FOLDER / "results").glob("*.json"):
        assert not json.loads(path.read_text()).get("quick"), f"{path.name} is of a quick run"
