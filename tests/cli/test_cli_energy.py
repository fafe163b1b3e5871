"""``spikesim energy`` on models, networks and runs; its files, and mistakes."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

from spikesim.energy import measure as measuring
from spikesim.energy.measure import Measured, Measurement

Cli = Callable[..., Result]
Refused = Callable[..., None]

TINY = ("sdt", "preset=tiny", "dim=32", "depth=1", "image_size=16", "steps=2", "--device", "cpu")


def document(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_a_model_is_counted_on_random_events_and_says_so(spikesim: Cli) -> None:
    result = spikesim("energy", *TINY, "--samples", 2)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "untrained, on random events" in result.stdout
    for expected in ("classical", "step", "lemaire", "loihi", "ann-int8", "total"):
        assert expected in result.stdout


def test_json_is_one_document_with_the_models_asked_for(spikesim: Cli) -> None:
    arguments = ("--model", "integer", "--model", "loihi", "--seconds-per-step", 0, "--json")
    found = document(spikesim("energy", *TINY, *arguments))
    assert list(found["models"]) == ["integer", "loihi"]
    assert found["Effective_ACs"] > 0
    assert "idle" not in found["models"]["loihi"]["parts"]
    with_idle = document(spikesim("energy", *TINY, "--model", "loihi", "--json"))
    assert with_idle["models"]["loihi"]["parts"]["idle"] > 0
    assert with_idle["Effective_ACs"] == found["Effective_ACs"]  # the same random events


def test_as_many_random_recordings_as_asked_for(spikesim: Cli) -> None:
    for given, counted in ((), 4), (("--samples", 6), 6):
        assert document(spikesim("energy", *TINY, *given, "--json"))["samples"] == counted


def test_files_are_written(spikesim: Cli, tmp_path: Path) -> None:
    files = ("--csv", "layers.csv", "--latex", "table.tex", "--figures", "drawn")
    found = document(spikesim("energy", *TINY, "--model", "step", *files, "--json"))
    with Path("layers.csv").open() as text:
        lines = list(csv.DictReader(text))
    assert [line["name"] for line in lines] == [layer["name"] for layer in found["layers"]]
    assert r"\bottomrule" in Path("table.tex").read_text()
    drawn = sorted(path.name for path in Path("drawn").iterdir())
    assert drawn == ["crossover-step.png", "layers-step.png", "sensitivity-step.png"]
    for name in drawn:
        assert len(Image.open(Path("drawn", name)).convert("RGB").getcolors(10**6)) > 10


def test_a_network_is_counted_over_its_time(spikesim: Cli) -> None:
    run = ("brunel", "scale=0.02", "seed=3", "dt=0.5", "--ms", 50, "--json")
    found = document(spikesim("energy", *run))
    assert found["steps"] == 100
    simulated = json.loads(
        spikesim("simulate", *run[:4], "--ms", 50, "--json").stdout.splitlines()[-1]
    )
    assert sum(
        layer["spikes"] for layer in found["layers"] if layer["kind"] == "neuron"
    ) == simulated["spikes"]  # fmt: skip


def test_runs_are_counted_on_their_test_data_and_compared(
    spikesim: Cli, trained: tuple[Path, Result]
) -> None:
    for name in ("one", "other"):
        shutil.copytree(trained[0], Path("runs", name))
    found = document(spikesim("energy", "one", "other", "--figures", "drawn", "--json"))
    assert found["samples"] == 8
    assert Path("drawn", "pareto-classical.png").is_file()
    result = json.loads(Path("runs/one/result.json").read_text())
    for name, charge in result["energy"]["models"].items():
        assert found["models"][name]["joules"] == pytest.approx(charge["joules"])


def test_what_cannot_be_compared_is_refused_before_it_is_counted(
    spikesim: Cli, refused: Refused, trained: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "killed"):
        shutil.copytree(trained[0], Path("runs", name))
    Path("runs/killed/result.json").unlink()
    monkeypatch.setattr("spikesim.cli.energy_target.target", None)
    figures = ("--figures", "drawn")
    refused(spikesim("energy", "brunel", "one", *figures), "no run at runs/brunel")
    refused(spikesim("energy", "killed", "one", *figures), "runs/killed has not finished")
    refused(spikesim("energy", "one", "killed", *figures), "runs/killed has not finished")


def test_measured_joules_are_beside_and_named_as_what_they_are(
    spikesim: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(call: Callable[[], object], *, device: str) -> Measurement:
        call()
        one = Measured("GPU", 2.0, 1.9, 2.1, 60.0, 300.0)
        return Measurement((one,), {"CPU": "no RAPL counters"}, 0.01, 900)

    monkeypatch.setattr(measuring, "measure", measured)
    result = spikesim("energy", *TINY, "--measure")
    assert "measured, GPU: 2 J a call (1.9 J to 2.1 J)" in result.stdout
    assert "not measured, CPU: no RAPL counters" in result.stdout
    assert "not what a chip would need" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sdx",), ("no run, model or network 'sdx'", "spikformer", "brunel")),
        (("runs/gone",), ("no run at runs/gone",)),
        (("sdt", "preset=tny"), ("no preset 'tny'", "tiny")),
        (("sdt", "dimension=3"), ("no size 'dimension'",)),
        (("sdt", "steps=1", "steps=2"), ("steps is given twice",)),
        (("brunel", "skale=2"), ("skale",)),
        (("sdt", "--model", "lohi"), ("no energy model 'lohi'", "loihi", "classical")),
        (("sdt", "--model", "akida"), ("no energy model 'akida'",)),
        (("sdt", "--model", ""), ("no energy model ''",)),
        (("sdt", "--model", "integer nod=7"), ("unknown setting 'nod'", "node")),
        (("sdt", "--model", "spinnaker variant=tan"), ("no variant 'tan'", "tang")),
        (("sdt", "--csv", "gone/x.csv"), ("there is no folder",)),
        (("sdt", "--data", "nmnst"), ("nmnst",)),
        (("brunel", "--ms", "0"), ("0 ms",)),
        (("sdt", "--samples", "0"), ("--samples",)),
        (("sdt", "--model", "step", "--model", "step"), ("two energy models are named 'step'",)),
        (("sdt", "--seconds-per-step", "nan"), ("seconds_per_step", "nan")),
        (("sdt", "--model", "step", "--seconds-per-step", "1"), ("none of the models is a chip",)),
        (("one", "other"), ("other runs are compared in --figures",)),
        (("sdt", "--csv", "."), ("is a folder",)),
        (("sdt", "--figures", "/dev/null/drawn"), ("/dev/null is a file",)),
        # Options that would change nothing.
        (("sdt", "--ms", "5"), ("--ms", "no biological time")),
        (("sdt", "--root", "."), ("--root", "without --data")),
        (("brunel", "--data", "nmnist"), ("--data", "no recordings")),
        (("brunel", "--samples", "3"), ("--samples", "no recordings")),
        (("brunel", "device=cpu", "--device", "cpu"), ("device is given twice",)),
    ],
)
def test_mistakes_are_one_line(
    spikesim: Cli, refused: Refused, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(spikesim("energy", *arguments), *words)


def test_a_model_takes_its_settings(spikesim: Cli) -> None:
    wanted = ("spinnaker", "spinnaker variant=tang", "integer node=7")
    found = document(
        spikesim("energy", *TINY, *(w for m in wanted for w in ("--model", m)), "--json")
    )
    one, other, _ = (model["parts"] for model in found["models"].values())
    assert list(found["models"]) == ["spinnaker", "spinnaker (tang)", "integer"]
    assert one["compute"] == pytest.approx(43.0 / 0.045 * other["compute"])
