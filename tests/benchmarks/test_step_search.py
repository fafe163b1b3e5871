"""The search for the fastest training step: what is tried first, what is kept, what is compared."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
FASTER = {"fused kernels": 2, "float32 membrane": 6, "precision API": 12, "LIFNode": 16}
"""Made-up milliseconds, of which other choices are multiples."""


def made_up(choice: Any, scale: float = 1.0) -> dict[str, Any]:
    """Figures that depend on every part of a choice."""
    ms = scale * FASTER.get(choice.neurons, 100)
    ms *= (1 if choice.graph else 2) * (1 if choice.layout == "NHWC" else 1.25)
    ms *= 1.5 if choice.trainer or choice.compiled else 1
    peak = 100 if choice.library == "spikesim" else 400
    return {"ms": {"median": ms}, "peak_bytes": peak + 10 * choice.graph - 50 * choice.compiled}


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Modules of the folder, on what passes for a GPU."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(importlib.import_module("measure"), "free", lambda run: None)
    return importlib.import_module


@pytest.fixture
def start(
    modules: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """``start(rows, scale)``: a search whose figures are made up."""

    def start(rows: list[dict[str, Any]], scale: float = 1.0) -> Any:
        search, measure = modules("step_search"), modules("measure")
        run = measure.Run(torch.device("cuda"), 20, 3, False, True, float("inf"))
        monkeypatch.setattr(search, "figures", lambda choice, *_: made_up(choice, scale))
        return search.Search(None, run, rows)

    return start


def measured(search: Any, dtypes: tuple[str, ...], only: str = "", at_most: int = 99) -> list[str]:
    """The names of what is measured, in order."""
    names: list[str] = []
    while len(names) < at_most and (choice := search.due(dtypes, only)):
        search.measure(choice)
        names.append(choice.name)
    return names


def test_graphs_in_both_layouts_decide_first(start: Callable[..., Any]) -> None:
    names = measured(start([]), ("bfloat16",))
    ours, peer = "spikesim bfloat16: fused kernels, ", "SpikingJelly bfloat16: "
    assert names[:2] == [ours + "NHWC, CUDA graph", ours + "NCHW, CUDA graph"]
    ways = ("float32 membrane", "precision API", "LIFNode")
    graphs = [f"{peer}{way}, {lies}, CUDA graph" for way in ways for lies in ("NHWC", "NCHW")]
    assert names[2:8] == graphs
    assert len(set(names)) == len(names)
    compiled = [name for name in names if "torch.compile" in name]
    assert len(compiled) == 8
    assert all("NHWC" in name for name in compiled)
    assert names[-9:-1] == compiled


def test_best_released_and_smallest_are_told_apart(start: Callable[..., Any]) -> None:
    search = start([])
    measured(search, ("bfloat16",))
    (row,) = search.rows()
    assert row["missing"] == []
    mine, other = row["sides"]
    assert mine["best"]["how"] == "fused kernels, NHWC, CUDA graph"
    assert other["best"]["how"] == "float32 membrane, NHWC, CUDA graph"
    assert other["as_released"]["how"] == "precision API, NHWC"
    assert other["smallest"]["how"] == "float32 membrane, NHWC, torch.compile"
    assert (row["times_the_peer"], row["times_the_peer_as_released"]) == (3.0, 12.0)
    assert row["memory_over_the_peer"] == round(110 / 410, 3)
    assert row["smallest_over_the_peer"] == round(50 / 410, 3)


def test_a_cut_search_goes_on_and_compares_within_a_run(
    start: Callable[..., Any], modules: Callable[[str], ModuleType]
) -> None:
    whole = measured(start([]), ("float32", "bfloat16"))
    first = start([])
    before = measured(first, ("float32", "bfloat16"), at_most=9)
    rows = json.loads(json.dumps(first.rows()))
    missing = [name for row in rows for name in row["missing"]]
    assert set(missing) == set(whole) - set(before)
    text = "\n".join(modules("tables_step").training_step(report(rows)))
    assert f"- {missing[0]}\n" in text
    # a machine that is half as fast this time: ours too, so that ratios hold
    second = start(rows, 2.0)
    after = measured(second, ("float32", "bfloat16"))
    ours = {
        f"spikesim {dtype}: fused kernels, {layout}, CUDA graph"
        for dtype in ("float32", "bfloat16")
        for layout in ("NHWC", "NCHW")
    }
    assert set(before) & set(after) == ours
    assert set(before) | set(after) == set(whole)
    released = [row["times_the_peer_as_released"] for row in second.rows()]
    assert [row["times_the_peer"] for row in second.rows()] == [6.0, 3.0]
    assert released == [12.0, 12.0]


def test_a_part_is_chosen_by_its_name(start: Callable[..., Any]) -> None:
    search = start([])
    names = measured(search, ("float32", "bfloat16"), only="bfloat16: precision.*graph")
    assert [name for name in names if "Jelly" in name] == [
        "SpikingJelly bfloat16: precision API, NHWC, CUDA graph",
        "SpikingJelly bfloat16: precision API, NCHW, CUDA graph",
        "SpikingJelly bfloat16: precision API, NHWC, torch.compile, CUDA graph",
    ]
    assert len(names) == 5, "and ours beside it"
    assert [row["dtype"] for row in search.rows()] == ["bfloat16"]


def test_a_failure_is_kept(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    search = start([])

    def fail(choice: Any, *_: object) -> dict[str, Any]:
        if choice.neurons == "precision API":
            raise RuntimeError("no such kernel")
        return made_up(choice)

    monkeypatch.setattr("step_search.figures", fail)
    measured(search, ("float32",))
    (row,) = search.rows()
    failed = [c for c in row["sides"][1]["tried"] if "status" in c]
    assert {c["neurons"] for c in failed} == {"precision API"}
    assert {c["status"] for c in failed} == {"failed: RuntimeError: no such kernel"}
    assert row["sides"][1]["as_released"]["how"] == "LIFNode, NHWC"
    again = start(search.rows())
    assert len(measured(again, ("float32",))) == 2


def report(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A training step's JSON."""
    machine = {"gpu": "G", "driver": "1", "cuda": "13"}
    task = {"steps": 16, "batch": 16, "size": 128, "channels": 2, "classes": 10}
    settings = {"tf32": True, "repeats": 20}
    head = {"machine": machine, "versions": {"torch": "2"}, "settings": settings}
    return head | {"date": "2030-01-01", "task": task, "rows": rows}
