"""Help, version, lists, JSON, and what is imported before the first line."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import Result

from spikesim import __version__
from spikesim.cli.train import split_arguments
from spikesim.errors import UserError

Cli = Callable[..., Result]


def test_no_arguments_prints_help(spikesim: Cli) -> None:
    result = spikesim()
    assert result.exit_code == 0
    assert "spikesim train" in result.stdout


def test_version(spikesim: Cli) -> None:
    result = spikesim("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"spikesim {__version__} ")


def test_module_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spikesim", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"spikesim {__version__} ")


def test_help_of_train_names_defaults_and_exit_codes(spikesim: Cli) -> None:
    text = " ".join(spikesim("train", "--help").stdout.replace("│", " ").split())
    for words in ("default: nmnist-tiny", "run.name", "--resume", "--json", "0 done", "130"):
        assert words in text


def test_help_is_wrapped_at_the_width_alone(spikesim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where a line of the source ends."""
    monkeypatch.setenv("COLUMNS", "80")
    told = [line.strip() for line in spikesim("--help").stdout.splitlines()]
    first = told.index("Start with spikesim train: it trains a spiking transformer on real")
    assert told[first + 1].startswith("event-camera recordings that come with the package")


def test_first_line_needs_no_heavy_import() -> None:
    heavy = "{'torch', 'numba', 'tonic', 'matplotlib', 'numpy', 'yaml'}"
    code = f"import sys, spikesim.cli.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arguments_are_told_apart() -> None:
    assert split_arguments([]) == (None, ())
    assert split_arguments(["a=1"]) == (None, ("a=1",))
    assert split_arguments(["sdt", "a=1", "b=x=y"]) == ("sdt", ("a=1", "b=x=y"))
    for wrong in (["a=1", "sdt"], ["sdt", "train.lr"]):
        with pytest.raises(UserError, match=wrong[-1]):
            split_arguments(wrong)


@pytest.mark.parametrize(
    "arguments",
    [
        ("models",),
        ("models", "list"),
        ("models", "info", "sdt"),
        ("datasets", "list"),
        ("datasets", "info", "nmnist"),
        ("datasets", "info", "folder"),
        ("recipes", "list"),
        ("recipes", "show", "nmnist-tiny", "train.lr=1e-3"),
    ],
)
def test_lists_print_text_and_one_json_document(spikesim: Cli, arguments: tuple[str, ...]) -> None:
    text = spikesim(*arguments)
    assert text.exit_code == 0, text.output
    assert text.stdout.strip()
    if len(arguments) > 1:
        parsed = spikesim(*arguments, "--json")
        assert parsed.exit_code == 0
        assert json.loads(parsed.stdout)


def test_models_info_counts_published_parameters(spikesim: Cli) -> None:
    document = json.loads(spikesim("models", "info", "sdt", "--json").stdout)
    counts = {preset["name"]: preset["parameters"] for preset in document["presets"]}
    # Yao et al. (2023): 2-256 on CIFAR10-DVS and 2-512 on CIFAR-10, without dead parameters.
    assert counts["cifar10dvs"] == 2_566_666
    assert counts["cifar10"] == 10_233_418


def test_datasets_list_says_what_is_here(spikesim: Cli) -> None:
    known = {one["name"]: one for one in json.loads(spikesim("datasets", "list", "--json").stdout)}
    assert known["nmnist"]["state"] == "here"
    assert known["shd"]["state"] == "absent"


def test_recipe_shown_is_a_recipe(spikesim: Cli, tmp_path) -> None:  # type: ignore[no-untyped-def]
    shown = spikesim("recipes", "show", "nmnist-tiny", "data.fold=[1, 5]").stdout
    path = tmp_path / "mine.yaml"
    path.write_text(shown)
    again = json.loads(spikesim("recipes", "show", path, "--json").stdout)
    assert again["data"]["fold"] == [1, 5]


def test_prepare_packs_and_counts(spikesim: Cli, digits) -> None:  # type: ignore[no-untyped-def]
    result = spikesim("datasets", "prepare", "nmnist", "--root", digits, "--json")
    assert result.exit_code == 0, result.output
    splits = {one["split"]: one for one in json.loads(result.stdout)["splits"]}
    assert (splits["train"]["recordings"], splits["test"]["recordings"]) == (24, 8)
    # Five bytes an event.
    size = sum(path.stat().st_size for path in (digits / "Test").rglob("*.bin"))
    assert splits["test"]["events"] == size // 5
