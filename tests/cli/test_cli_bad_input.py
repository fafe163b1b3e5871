"""A person's mistake: one line that names cause and cure, exit code 2, nothing overwritten."""

import errno
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import Result

Cli = Callable[..., Result]
Refused = Callable[..., None]
Trained = tuple[Path, Result]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trian",), ("trian", "--help")),
        (("train", "--resum"), ("--resum", "spikesim train --help")),
        (("eval",), ("RUN", "spikesim eval --help")),
        (("train", "nmnist-tinny"), ("nmnist-tinny", "did you mean 'nmnist-tiny'")),
        (("train", "no-such-file.yaml"), ("no-such-file.yaml",)),
        (("train", "train.epoch=3"), ("train.epoch", "did you mean 'train.epochs'")),
        (("train", "train.epochs=many"), ("train.epochs", "many", "whole number")),
        (("train", "train.epochs=0"), ("train.epochs", ">= 1", "0")),
        (("train", "epochs=3"), ("epochs=3", "group.key=value")),
        (("train", "nmnist-tiny", "train.epochs"), ("train.epochs", "key=value")),
        (("train", "data.name=nmnits"), ("nmnits", "did you mean 'nmnist'")),
        (("train", "model.name=spikformr"), ("spikformr", "did you mean 'spikformer'")),
        (("train", "model.preset=tinny"), ("tinny", "did you mean 'tiny'")),
        (("train", "model.sizes.dimm=8"), ("dimm", "did you mean 'dim'")),
        (("train", "run.name=a/b"), ("run.name", "without slashes")),
        (("train", "data.root=/nowhere/nmnist"), ("/nowhere/nmnist", "nothing found", "download")),
        (("train", "data.name=folder"), ("folder", "root=")),
        (("train", "train.device=gpu"), ("train.device", "gpu", "cuda")),
        (
            ("train", "train.device=cpu", "train.backend=cupy"),
            ("backend 'cupy'", "cpu tensors", "'numba' or 'auto'"),
        ),
        (("train", "train.backend=triton"), ("train.backend", "torch, numba, cupy", "triton")),
        (("train", "--resume", "run.name=nothing"), ("nothing", "no run", "run.name")),
        (("eval", "nothing"), ("nothing", "no run")),
        (("models", "info", "sdtt"), ("sdtt", "did you mean 'sdt'")),
        (("datasets", "info", "cifar10-dvs"), ("cifar10-dvs", "did you mean 'cifar10dvs'")),
        (("recipes", "show", "nmnist"), ("nmnist", "did you mean 'nmnist-tiny'")),
    ],
)
def test_mistake_is_one_line(
    spikesim: Cli, refused: Refused, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(spikesim(*arguments), *words)
    assert not Path("runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_absent_cuda_is_refused(spikesim: Cli, refused: Refused, trained: Trained) -> None:
    refused(spikesim("train", "train.device=cuda"), "train.device=cuda", "no CUDA device", "cpu")
    refused(spikesim("eval", trained[0], "--device", "cuda"), "no CUDA device")


def test_wrong_archive_names_both_hashes(spikesim: Cli, refused: Refused, tmp_path: Path) -> None:
    content = b"not what was published"
    wrong = tmp_path / "pips_train.tar.gz"
    wrong.write_bytes(content)
    result = spikesim("datasets", "prepare", "pokerdvs", "--root", tmp_path)
    # The md5 that Tonic gives for this archive.
    published = "412bcfb96826e4fcb290558e8c150aae"
    refused(result, str(wrong), published, hashlib.md5(content).hexdigest())
    assert wrong.read_bytes() == content


def test_damaged_zip_as_root_is_refused(spikesim: Cli, refused: Refused, tmp_path: Path) -> None:
    archive = tmp_path / "mine.zip"
    archive.write_bytes(b"PK\x03\x04 and then nothing")
    refused(spikesim("train", f"data.root={archive}"), str(archive))


def test_truncated_recording_is_named(
    spikesim: Cli, refused: Refused, digits: Path, tmp_path: Path, small: tuple[str, ...]
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(digits, root)
    broken = next((root / "Train" / "1").glob("*.bin"))
    broken.write_bytes(broken.read_bytes()[:-3])
    refused(spikesim("train", *small, f"data.root={root}"), str(broken), "truncated")
    assert not Path("runs").exists()


def test_existing_run_is_not_overwritten(
    spikesim: Cli, refused: Refused, trained: Trained, digits: Path, small: tuple[str, ...]
) -> None:
    run, _ = trained
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    place = (f"run.dir={run.parent}", f"run.name={run.name}")
    again = spikesim("train", *small, *place, f"data.root={digits}")
    refused(again, str(run), "exists", "--resume", "run.name")
    other = spikesim("train", "--resume", *place, "train.lr=0.5")
    refused(other, "train.lr=0.5", "0.002")
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_name_of_a_run_is_suggested(spikesim: Cli, refused: Refused, trained: Trained) -> None:
    run, _ = trained
    refused(spikesim("eval", run.with_name("smal")), "smal", "did you mean 'small'")


def test_unknown_split_is_suggested(spikesim: Cli, refused: Refused, trained: Trained) -> None:
    refused(spikesim("eval", trained[0], "--split", "tset"), "tset", "did you mean 'test'")


def test_steps_other_than_the_checkpoint_are_refused(
    spikesim: Cli, refused: Refused, trained: Trained, tmp_path: Path
) -> None:
    run = tmp_path / "changed"
    shutil.copytree(trained[0], run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["steps"] = 7
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    refused(spikesim("eval", run), "T = 3", "data.steps=7")


def test_damaged_checkpoint_is_named(
    spikesim: Cli, refused: Refused, trained: Trained, tmp_path: Path
) -> None:
    run = tmp_path / "damaged"
    shutil.copytree(trained[0], run)
    for weights in run.rglob("model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    refused(spikesim("eval", run), str(run), "damaged", "sha256")


def test_run_without_checkpoint_is_refused(
    spikesim: Cli, refused: Refused, trained: Trained, tmp_path: Path
) -> None:
    run = tmp_path / "early"
    shutil.copytree(trained[0], run)
    shutil.rmtree(run / "checkpoint")
    refused(spikesim("predict", run, "x.bin"), str(run), "no checkpoint")


def _train_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    import spikesim.train.loop

    def train(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(spikesim.train.loop, "train", train)


def test_full_disk_is_a_failure_not_a_mistake(
    spikesim: Cli, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_that_raises(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "runs/x"))
    refused(spikesim("train"), "runs/x", "No space left", "free some space", code=1)


def test_interrupt_names_the_command_that_goes_on(
    spikesim: Cli, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train_that_raises(monkeypatch, KeyboardInterrupt())
    place = ("run.name=x", "run.dir=elsewhere")
    refused(spikesim("train", *place), "interrupted", "nothing was written", code=130)
    folder = Path("elsewhere") / "x"
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    wanted = "spikesim train --resume run.name=x run.dir=elsewhere"
    refused(spikesim("train", *place), wanted, code=130)


def test_bug_keeps_its_traceback(spikesim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    _train_that_raises(monkeypatch, ZeroDivisionError("a bug"))
    result = spikesim("train")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_other_ranks_print_nothing(spikesim: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert spikesim("models", "list").stdout == ""
    assert spikesim("models", "list", "--json").stdout == ""
    wrong = spikesim("models", "info", "sdtt")
    assert wrong.stderr.startswith("error (rank 1): ")


def test_json_keeps_stdout_clean_on_a_mistake(spikesim: Cli) -> None:
    result = spikesim("train", "train.epoch=3", "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "train.epochs" in result.stderr
