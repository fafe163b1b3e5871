"""Train, evaluate, look again, and stop, through the command line."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Cli = Callable[..., Result]
Trained = tuple[Path, Result]


def test_train_json_is_the_result_file(trained: Trained) -> None:
    run, result = trained
    document = json.loads(result.stdout)
    assert document == json.loads((run / "result.json").read_text())
    assert document["total"] == 8
    low, high = document["interval"]
    assert 0 <= low <= document["accuracy"] <= high <= 1
    # What a person would read goes to the other stream.
    assert "epoch 1/1" in result.stderr


def test_run_folder_holds_what_is_promised(trained: Trained) -> None:
    run, _ = trained
    found = {path.name for path in run.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "checkpoint", "result.json"} <= found
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1]


def test_eval_repeats_the_result(spikesim: Cli, trained: Trained) -> None:
    run, trained_result = trained
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = spikesim("eval", run, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    document, wanted = json.loads(result.stdout), json.loads(trained_result.stdout)
    for key in ("accuracy", "interval", "correct", "total", "confusion", "classes"):
        assert document[key] == wanted[key], key
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_eval_of_a_split_by_name_in_runs(
    spikesim: Cli, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained[0].parent.parent)
    result = spikesim("eval", "small", "--split", "train", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert re.search(r"train accuracy .* of 24 recordings", result.stdout)


def test_resume_finds_settings_in_the_run(
    spikesim: Cli, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither recipe nor overrides: all settings are in the run's config.yaml.
    monkeypatch.chdir(trained[0].parent.parent)
    result = spikesim("train", "--resume", "run.name=small", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(trained[1].stdout)
    assert ": train run.name=small --resume\n" in result.stderr


def test_report_writes_and_names_the_page(spikesim: Cli, trained: Trained) -> None:
    run, _ = trained
    result = spikesim("report", run, "--json")
    assert result.exit_code == 0, result.output
    page = Path(json.loads(result.stdout)["report"])
    assert page == run / "report.html"
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")


def test_interrupted_training_says_how_to_go_on(
    digits: Path, small: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = [*small, f"data.root={digits}", "train.epochs=1000000", "run.name=long"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spikesim", "train", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    try:
        lines = iter(process.stdout.readline, "")
        assert next(lines).startswith("spikesim ")
        assert any(line.startswith("epoch 1/") for line in lines)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    (line,) = errors.splitlines()
    assert line == "error: interrupted; go on with: spikesim train --resume run.name=long"
    assert (tmp_path / "runs" / "long" / "config.yaml").is_file()
