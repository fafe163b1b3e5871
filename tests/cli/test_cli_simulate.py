"""Networks through the command line: one line of JSON, files, keys, and mistakes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from spikesim.cli.simulate_keys import keys_of, settings, summary
from spikesim.network import Network, Population, cv_isi
from spikesim.network.export import record
from spikesim.network.export_npz import load
from spikesim.network.recipes import RECIPES, brunel

Cli = Callable[..., Result]
Refused = Callable[..., None]

KEYS = [
    *("model", "N", "synapses", "dt_ms", "biological_ms", "build_s", "run_s", "cpu_s", "spikes"),
    *("rate_hz", "cv_isi", "device", "threads", "processes", "seed"),
]
SMALL = ("brunel", "scale=0.02", "seed=3")


def line(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, (result.output, result.exception)
    (only,) = result.stdout.splitlines()
    return json.loads(only)


def test_json_is_one_line_that_a_script_of_the_same_network_confirms(spikesim: Cli) -> None:
    document = line(spikesim("simulate", *SMALL, "dt=0.5", "threads=2", "--ms", 200, "--json"))
    assert list(document) == KEYS
    net = brunel(scale=0.02, seed=3, dt=0.5)
    probes = [net.probe(group, "spikes") for group in net.groups if isinstance(group, Population)]
    net.run(200.0)
    count = sum(map(len, probes))
    assert count > 100
    wanted = {
        "model": "brunel",
        "N": 250,
        "synapses": 250 * 1250,
        "dt_ms": 0.5,
        "biological_ms": 200.0,
        "spikes": count,
        "rate_hz": pytest.approx(count / 250 / 0.2, abs=1e-4),
        "cv_isi": pytest.approx(np.nanmean(np.concatenate([*map(cv_isi, probes)])), abs=1e-4),
        "device": "cpu",
        "threads": 2,
        "processes": 1,
        "seed": 3,
    }
    assert {key: document[key] for key in wanted} == wanted
    assert all(document[key] > 0 for key in ("build_s", "run_s", "cpu_s"))  # type: ignore[operator]


def test_processes_share_a_network_and_the_first_one_writes(tmp_path: Path) -> None:
    """The same line and the same spikes as one process, said and written once."""
    command = ["-m", "spikesim", "simulate", *SMALL, "--ms", "30", "--json"]
    several = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    documents, spikes = [], []
    for before, name in (([], "one.npz"), (several, "two.npz")):
        ran = subprocess.run(
            [sys.executable, *before, *command, "--spikes", str(tmp_path / name)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert ran.returncode == 0, ran.stderr
        (only,) = ran.stdout.splitlines()
        documents.append(json.loads(only))
        spikes.append(load(tmp_path / name).merged())
        assert ran.stderr.count("simulate brunel") == 1
    one, two = documents
    assert (one["processes"], two["processes"]) == (1, 2)
    for key in set(KEYS) - {"build_s", "run_s", "cpu_s", "processes"}:
        assert one[key] == two[key], key
    assert len(spikes[0][0]) == one["spikes"] > 10
    for mine, other in zip(*spikes, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs(spikesim: Cli, recipe: str) -> None:
    result = spikesim("simulate", recipe, "scale=0.1", "--seconds", 0.02, "--json")
    document = line(result)
    assert (document["model"], document["biological_ms"]) == (recipe, 20.0)
    assert result.stderr.startswith("spikesim ")


@pytest.mark.parametrize("regime", ["SR", "SI_fast", "AI", "SI_slow"])
def test_keys_of_the_recipe_arrive(spikesim: Cli, regime: str) -> None:
    document = line(spikesim("simulate", *SMALL, f"regime={regime}", "--ms", 50, "--json"))
    net = brunel(scale=0.02, seed=3, regime=regime)  # type: ignore[arg-type]
    probes = [net.probe(group, "spikes") for group in net.groups]
    net.run(50.0)
    assert document["spikes"] == sum(map(len, probes))


def test_a_network_too_silent_for_intervals_has_no_cv(spikesim: Cli) -> None:
    assert line(spikesim("simulate", *SMALL, "--ms", 1, "--json"))["cv_isi"] is None


def test_text_tells_populations_speed_and_files(spikesim: Cli, tmp_path: Path) -> None:
    files = {"--spikes": "a.npz", "--plot": "a.png", "--nwb": "a.nwb"}
    options = [item for pair in files.items() for item in pair]
    result = spikesim("simulate", *SMALL, "--ms", 100, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    for words in ("250 neurons, 312,500 synapses", "100 of 100 ms", "x real time", "excitatory"):
        assert words in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files.values())
    assert all(f"wrote {name}" in result.stdout for name in files.values())


def test_spikes_in_the_file_are_those_of_the_run(spikesim: Cli, tmp_path: Path) -> None:
    document = line(spikesim("simulate", *SMALL, "--ms", 100, "--spikes", "a.npz", "--json"))
    net = brunel(scale=0.02, seed=3)
    for group in net.groups:
        net.probe(group, "spikes")
    net.run(100.0)
    index, times = record(net).merged()
    with np.load("a.npz") as file:
        assert file["index"].tolist() == index.tolist()
        assert file["time_ms"].tolist() == times.tolist()
    assert len(index) == document["spikes"]
    assert [train.name for train in load("a.npz").trains] == ["excitatory", "inhibitory"]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_a_picture_of_any_kind_is_written(spikesim: Cli, ending: str) -> None:
    line(spikesim("simulate", *SMALL, "--ms", 50, "--plot", f"a.{ending}", "--json"))
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert Path(f"a.{ending}").read_bytes().startswith(start)
    if ending == "png":
        assert Image.open("a.png").width == 1350


def test_the_list_names_networks_and_explains_keys(spikesim: Cli) -> None:
    assert [
        one["network"] for one in json.loads(spikesim("simulate", "--list", "--json").stdout)
    ] == [*RECIPES]
    for recipe, make in RECIPES.items():
        assert summary(make).endswith(".")
        for name, key in keys_of(make).items():
            assert key.about, (recipe, name)
            assert not {"`", ":math:"} & {*key.about.split(), *key.about}, (recipe, name)
    text = " ".join(spikesim("simulate", "cuba", "--list").stdout.split())
    for words in (
        "weights [16.2, -90.0] [number, number] excitatory and inhibitory, pA",
        "threads 1",
    ):
        assert words in text
    brunel_keys = {
        k["key"]: k for k in json.loads(spikesim("simulate", "brunel", "--list", "--json").stdout)
    }
    assert brunel_keys["regime"]["values"] == "AI | SR | SI_fast | SI_slow"
    assert (brunel_keys["g"]["default"], brunel_keys["g"]["values"]) == (None, "number | null")


def test_values_have_the_types_of_the_signature() -> None:
    given = settings(RECIPES["cuba"], ["weights=[1, -2]", "scale=1", "seed=7", "dtype=float64"])
    assert (given["weights"], given["seed"], given["dtype"]) == ((1.0, -2.0), 7, "float64")
    assert isinstance(given["scale"], float)
    assert settings(RECIPES["izhikevich"], ["indegree=null"])["indegree"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("name a network: brunel, cuba", "--list")),
        (("brunl",), ("brunl", "did you mean 'brunel'")),
        (("brunl", "--list"), ("brunl", "did you mean 'brunel'")),
        (("brunel", "sede=1"), ("sede", "did you mean 'seed'")),
        (("brunel", "seed"), ("'seed'", "key=value")),
        (("brunel", "seed=one"), ("seed", "a whole number", "one")),
        (("brunel", "seed=-1"), ("seed", "-1")),
        (("brunel", "regime=IA"), ("regime", "one of AI, SR", "IA")),
        (("brunel", "dtype=float16"), ("dtype", "float32", "float16")),
        (("brunel", "scale=0"), ("scale must be > 0",)),
        (("brunel", "threads=0"), ("threads", "from 1 to 1024")),
        (("brunel", "dt=0"), ("dt must be > 0 ms", "got 0.0")),
        (("brunel", "seed=1", "seed=2"), ("seed is given twice",)),
        (("brunel", "device=gpu"), ("device", "cuda", "gpu")),
        (("cuba", "weights=1"), ("weights", "a list [a number, a number]")),
        (("cuba", "regime=AI"), ("unknown setting 'regime'",)),
        (("brunel", "--ms", "0"), ("biological time", "0 ms")),
        (("brunel", "--ms", "-5"), ("biological time", "not negative", "-5")),
        (("brunel", "--ms", "nan"), ("biological time", "finite")),
        (("brunel", "--ms", "0.25"), ("multiple of dt = 0.1", "0.25")),
        (("brunel", "--ms", "1", "--seconds", "1"), ("--ms", "--seconds", "one")),
        (("brunel", "--spikes", "a.txt"), ("--spikes a.txt", ".npz")),
        (("brunel", "--plot", "a.gif"), ("--plot a.gif", ".png or .pdf or .svg")),
        (("brunel", "--nwb", "a.npz"), ("--nwb a.npz", ".nwb")),
        (("brunel", "--plot", "none/a.png"), ("none/a.png", "no folder")),
    ],
)
def test_mistake_is_one_line_and_writes_nothing(
    spikesim: Cli,
    refused: Refused,
    tmp_path: Path,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    refused(spikesim("simulate", *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_tells_how_far_it_came(
    spikesim: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Network.run

    def interrupted(self: Network, ms: float, **options: bool) -> None:
        if ms:
            threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        run(self, ms, **options)

    monkeypatch.setattr(Network, "run", interrupted)
    result = spikesim("simulate", *SMALL, "--seconds", 1e6, "--spikes", "a.npz")
    assert result.exit_code == 130
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: interrupted after ")
    assert last.endswith(" of 1e+09 ms; nothing was written")
    assert not list(tmp_path.iterdir())
