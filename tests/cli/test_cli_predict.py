"""Predictions for recording files, against the evaluation of the same recordings."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import Result

from spikesim.datasets import EVENT_DTYPE
from spikesim.datasets.readers import read_events, write_npz
from spikesim.predict import Predictor
from spikesim.train.run import Run

Cli = Callable[..., Result]
Refused = Callable[..., None]
Trained = tuple[Path, Result]


def _test_files(digits: Path) -> list[Path]:
    return sorted((digits / "Test").rglob("*.bin"))


def _changed(run: Path, to: Path, **data: object) -> Path:
    """A copy of a run with other data settings."""
    shutil.copytree(run, to)
    config = yaml.safe_load((to / "config.yaml").read_text())
    config["data"].update(data)
    (to / "config.yaml").write_text(yaml.safe_dump(config))
    return to


def test_predict_agrees_with_evaluation(spikesim: Cli, trained: Trained, digits: Path) -> None:
    run, _ = trained
    files = _test_files(digits)
    result = spikesim("predict", run, *files, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    predictions = json.loads(result.stdout)["predictions"]
    assert [one["file"] for one in predictions] == [str(file) for file in files]
    confusion = np.zeros((2, 2), int)
    for file, one in zip(files, predictions, strict=True):
        assert one["class"] == one["top"][0]["class"]
        assert 0.5 <= one["probability"] <= 1  # the larger of two
        assert sum(top["probability"] for top in one["top"]) == pytest.approx(1)
        assert [window["events"] for window in one["windows"]] == [file.stat().st_size // 5]
        confusion[int(file.parent.name), int(one["class"])] += 1
    evaluated = json.loads(spikesim("eval", run, "--device", "cpu", "--json").stdout)
    assert confusion.tolist() == evaluated["confusion"]


def test_predicted_frames_are_those_of_the_dataset(trained: Trained, digits: Path) -> None:
    run = Run(trained[0])
    dataset = run.dataset("test")
    file = digits / dataset.keys[3]
    found = Predictor(run, device="cpu")(file).probabilities
    x, _ = dataset[3]
    with torch.inference_mode():
        wanted = run.model()(x[:, None]).mean(0).softmax(1)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_text_names_file_class_and_likeliest(spikesim: Cli, trained: Trained, digits: Path) -> None:
    file = _test_files(digits)[0]
    result = spikesim("predict", trained[0], file, "--device", "cpu")
    assert result.exit_code == 0, result.output
    for word in (file.name, "probability", "likeliest"):
        assert word in result.stdout


def test_windows_are_whole_ones_of_the_asked_length(
    spikesim: Cli, trained: Trained, digits: Path
) -> None:
    file = _test_files(digits)[0]
    events, _ = read_events(file)
    t = events["t"] - events["t"][0]
    result = spikesim("predict", trained[0], file, "--window", "60", "--device", "cpu", "--json")
    windows = json.loads(result.stdout)["predictions"][0]["windows"]
    wanted = [
        (start, int(((t >= start) & (t < start + 60_000)).sum()))
        for start in range(0, int(t[-1]) - 60_000 + 1, 60_000)
    ]
    assert [(one["start_us"], one["events"]) for one in windows] == wanted
    assert len(wanted) == 5  # three saccades of about 100 ms


def test_windows_follow_the_training(trained: Trained, digits: Path, tmp_path: Path) -> None:
    file = _test_files(digits)[0]
    count = file.stat().st_size // 5
    cases = {
        "cut": ({"cut_us": 60_000}, 5),
        "step": ({"window_us": 20_000}, 5),  # three steps of 20 ms
        "count": ({"binning": "count", "events_per_frame": 200}, count // 600),
        "whole": ({}, 1),
        "longer": ({"cut_us": 10_000_000}, 1),
    }
    for name, (data, windows) in cases.items():
        run = _changed(trained[0], tmp_path / name, **data)
        found = Predictor(Run(run), device="cpu")(file)
        assert len(found.windows) == windows, name


def test_windows_with_too_few_events_are_left_out(
    spikesim: Cli, refused: Refused, trained: Trained, tmp_path: Path
) -> None:
    run = _changed(trained[0], tmp_path / "run", cut_us=10_000, min_events=3)
    t = [0, 10, 20, 15_000, 20_001, 20_002, 20_003, 29_999, 30_000]
    events = np.zeros(len(t), EVENT_DTYPE)
    events["t"] = t
    file = write_npz(tmp_path / "a.npz", events, (34, 34, 2))
    found = Predictor(Run(run), device="cpu")(file)
    assert [(one.start_us, one.events) for one in found.windows] == [(0, 3), (20_000, 4)]
    result = spikesim("predict", run, file, "--window", "0.002", "--device", "cpu")
    refused(result, "3 events", "longer window")


def test_unreadable_files_are_named_and_the_others_predicted(
    spikesim: Cli, trained: Trained, digits: Path, tmp_path: Path
) -> None:
    good = _test_files(digits)[0]
    truncated = tmp_path / "cut.bin"
    truncated.write_bytes(good.read_bytes()[:-2])
    text = tmp_path / "notes.txt"
    text.write_text("not events")
    absent = tmp_path / "absent.bin"
    events, size = read_events(good)
    other = write_npz(tmp_path / "large.npz", events, (128, 128, 2))
    outside = tmp_path / "outside.bin"
    outside.write_bytes(bytes([200, 5, 0, 0, 0]))
    backwards = tmp_path / "backwards.npz"
    np.savez(backwards, **{f: events[f][::-1] for f in "txyp"}, sensor_size=size)
    bad = {
        truncated: "truncated",
        text: "unknown format",
        absent: "no such file",
        other: "128x128",
        outside: "outside the sensor",
        backwards: "backwards",
    }
    result = spikesim("predict", trained[0], *bad, good, "--device", "cpu", "--json")
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == len(bad)
    for line, (path, word) in zip(lines, bad.items(), strict=True):
        assert line.startswith(f"error: {path}"), line
        assert word in line
    (one,) = json.loads(result.stdout)["predictions"]
    assert one["file"] == str(good)
    # Of no recording there is nothing to say, not even an empty line.
    assert spikesim("predict", trained[0], absent, "--device", "cpu").stdout == ""


def test_unsorted_file_is_read_when_asked(
    spikesim: Cli, trained: Trained, digits: Path, tmp_path: Path
) -> None:
    good = _test_files(digits)[0]
    events, size = read_events(good)
    order = np.random.default_rng(0).permutation(len(events))
    path = tmp_path / "unsorted.npz"
    np.savez(path, **{f: events[f][order] for f in "txyp"}, sensor_size=size)
    options = ("--device", "cpu", "--json", "--sort")
    result = spikesim("predict", trained[0], good, path, *options)
    first, second = json.loads(result.stdout)["predictions"]
    assert first["probability"] == pytest.approx(second["probability"], abs=1e-6)


@pytest.mark.data
def test_samples_of_all_formats_are_predicted(
    spikesim: Cli, data_root: Path, digits: Path, trained: Trained, tmp_path: Path
) -> None:
    # A run whose frames are resized takes any sensor: one of the user's own recordings.
    root = tmp_path / "own"
    for split in ("train", "test"):
        for digit in "01":
            target = root / split / digit
            target.mkdir(parents=True)
            shutil.copy(next((digits / "Test" / digit).glob("*.bin")), target)
    run = _changed(trained[0], tmp_path / "run", name="folder", root=str(root), size=34)
    samples = data_root / "format_samples"
    files = [
        samples / name
        for name in ("evt2_sample.raw", "ncars_sample_td.dat", "ncaltech101_faces_easy_0001.bin")
    ]
    result = spikesim("predict", run, *files, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    events = [
        sum(w["events"] for w in one["windows"]) for one in json.loads(result.stdout)["predictions"]
    ]
    # Counts published with the samples.
    assert events == [539_481, 2_009, 67_445]
