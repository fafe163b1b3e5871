"""A small root of real recordings, and one run trained on it through the command line."""

import contextlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from spikesim.cli.app import app

SMALL = (
    "train.epochs=1",
    "train.device=cpu",
    "train.tensorboard=false",
    "train.report=false",
    "data.batch_size=8",
    "data.steps=3",
    "model.sizes.dim=40",
    "model.sizes.depth=1",
)
"""Overrides that make an epoch a matter of a second."""


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def spikesim() -> Callable[..., Result]:
    """The command line, in this process: ``spikesim("models", "list")``."""
    return invoke


@pytest.fixture
def small() -> tuple[str, ...]:
    return SMALL


@pytest.fixture
def refused() -> Callable[..., None]:
    """Asserts one line on stderr that names all ``words``, no traceback, and the exit code."""
    return assert_refused


def assert_refused(result: Result, *words: str, code: int = 2) -> None:
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in its own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPIKESIM_DATA", raising=False)
    monkeypatch.delenv("RANK", raising=False)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with real N-MNIST recordings of the digits 0 and 1: 12 + 4 of each."""
    from spikesim.datasets.sources.nmnist import EMBEDDED

    root = tmp_path_factory.mktemp("digits")
    with zipfile.ZipFile(EMBEDDED) as archive:
        for part, count in (("Train", 12), ("Test", 4)):
            for digit in "01":
                inside = f"{part}/{digit}/"
                found = sorted(n for n in archive.namelist() if inside in n and n.endswith(".bin"))
                target = root / part / digit
                target.mkdir(parents=True)
                for name in found[:count]:
                    (target / Path(name).name).write_bytes(archive.read(name))
    return root


@pytest.fixture(scope="session")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a finished run, and what its training printed (with ``--json``)."""
    folder = tmp_path_factory.mktemp("trained")
    with contextlib.chdir(folder):
        result = invoke("train", *SMALL, "run.name=small", f"data.root={digits}", "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return folder / "runs" / "small", result
