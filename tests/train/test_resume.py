"""A run that is stopped anywhere ends with the weights of one that never was."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spikesim
from spikesim import files
from spikesim.errors import BackendError, UserError
from spikesim.train.config import Config
from spikesim.train.loop import train
from spikesim.train.run import Run

ROOT = Path(spikesim.__file__).resolve().parent.parent
Make = Callable[..., Config]


def weights(config: Config) -> dict[str, bytes]:
    """Bytes of the final weights, averages and optimizer memory."""
    newest = max((config.run.path / "checkpoint").glob("step-*"))
    return {path.name: path.read_bytes() for path in newest.glob("*.safetensors")}


def lines(config: Config) -> list[dict[str, Any]]:
    """The metrics without the clock."""
    timed = ("seconds", "events_per_second")
    records = Run(config.run.path).metrics()
    return [{k: v for k, v in record.items() if k not in timed} for record in records]


def test_killed_at_three_random_moments_ends_bit_for_bit_the_same(
    recipe: Path, config: Make
) -> None:
    settings = ("train.epochs=25", "train.checkpoint_steps=3")
    whole = config(*settings, "run.name=whole")
    train(whole)
    killed = config(*settings, "run.name=killed")
    command = [
        *(sys.executable, "-m", "spikesim", "train", str(recipe), "run.name=killed", *settings)
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    for kills, share in enumerate((0.15, 0.45, 0.7)):
        resume = ["--resume"] if kills else []
        process = subprocess.Popen(
            [*command, *resume], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        reached = killed.run.path / "checkpoint" / "*"
        wanted = int(100 * (share + 0.2 * chance.random()))
        while process.poll() is None:
            steps = [int(p.name[5:]) for p in reached.parent.glob("step-*")]
            if max(steps, default=0) >= wanted:
                time.sleep(0.05 * chance.random())
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, (seed, share, errors)
        assert Run(killed.run.path).result is None
    result = train(killed, resume=True)
    assert weights(killed) == weights(whole), f"random seed {seed}"
    assert lines(killed) == lines(whole)
    expected = Run(whole.run.path).result
    assert expected is not None
    assert result.firing_rates == expected.firing_rates
    assert result.confusion == expected.confusion


class Stop(BaseException):
    """Nothing in the library catches it."""


@pytest.mark.parametrize("moment", [1, 2, 5, 6, 8, 14, 17, 23, 30])
def test_stopped_inside_any_write_ends_bit_for_bit_the_same(
    config: Make, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stops at the n-th fsync: in the metrics, in a file of a checkpoint, before its rename."""
    settings = ("train.checkpoint_steps=3",)
    whole = config(*settings, "run.name=whole")
    train(whole)
    stopped = config(*settings, "run.name=stopped")
    calls = 0
    fsync = os.fsync

    def count(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == moment:
            raise Stop
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", count)
        with pytest.raises(Stop):
            train(stopped)
    if (stopped.run.path / "config.yaml").is_file():
        train(stopped, resume=True)
    else:
        train(stopped)
    assert weights(stopped) == weights(whole)
    assert lines(stopped) == lines(whole)


def test_workers_and_accumulation_do_not_break_it(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("train.epochs=1", "train.accumulate=2", "data.workers=1", "data.validation=0.25",
                "train.checkpoint_steps=1", "train.optimizer=lamb", "train.amp=fp16")  # fmt: skip
    whole, stopped = (config(*settings, f"run.name={name}") for name in ("whole", "stopped"))
    train(whole)
    from spikesim.train.step import Stepper

    step = Stepper.step

    def stop_at_two(self: Stepper, parts: Any, number: int, *rest: Any) -> Any:
        if number == 2:
            raise Stop
        return step(self, parts, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", stop_at_two)
        with pytest.raises(Stop):
            train(stopped)
    train(stopped, resume=True)
    assert weights(stopped) == weights(whole)
    assert lines(stopped) == lines(whole)
    assert "validation_accuracy" in lines(whole)[0]


def test_resume_refuses_other_settings_and_existing_folders(config: Make) -> None:
    small = config("train.epochs=1")
    with pytest.raises(UserError, match="no run at"):
        train(small, resume=True)
    result = train(small)
    before = {p: p.read_bytes() for p in small.run.path.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="exists already and nothing is overwritten"):
        train(small)
    with pytest.raises(UserError, match=r"train\.lr=0\.5 but the run was started with 0\.01"):
        train(config("train.epochs=1", "train.lr=0.5"), resume=True)
    with pytest.raises(UserError, match=r"data\.steps=4 but the run was started with 3"):
        train(config("train.epochs=1", "data.steps=4"), resume=True)
    assert train(config("train.epochs=1", "train.threads=1"), resume=True) == result
    assert {p: p.read_bytes() for p in small.run.path.rglob("*") if p.is_file()} == before


def test_resume_refuses_other_recordings(config: Make, bars: Path, tmp_path: Path) -> None:
    small = config()
    train(small)
    (small.run.path / "result.json").unlink()
    fewer = tmp_path / "fewer"
    shutil.copytree(bars, fewer, ignore=shutil.ignore_patterns("15.npz"))
    with pytest.raises(UserError, match=r"was trained on 32 recordings.*now has 30"):
        train(config(f"data.root={fewer}"), resume=True)


def test_finished_run_says_so(config: Make, capsys: pytest.CaptureFixture[str]) -> None:
    small = config("train.epochs=1")
    train(small)
    capsys.readouterr()
    train(small, resume=True)
    assert "is finished: nothing to resume" in capsys.readouterr().out


def test_killed_before_the_report_still_gets_one(config: Make) -> None:
    train(config("train.epochs=1", "train.report=false"))
    reported = config("train.epochs=1", "train.report=true")
    train(reported, resume=True)
    assert (reported.run.path / "report.html").is_file()


def test_killed_before_the_result_still_gets_one(config: Make) -> None:
    small = config("train.epochs=1")
    first = train(small)
    (small.run.path / "result.json").unlink()
    assert train(small, resume=True).confusion == first.confusion


def test_damaged_checkpoint_falls_back_says_so_and_ends_the_same(
    config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    small = config()
    train(small)
    expected = weights(small)
    newest = max((small.run.path / "checkpoint").glob("step-*"))
    (newest / "model.safetensors").write_bytes(b"")
    (small.run.path / "result.json").unlink()
    capsys.readouterr()
    train(small, resume=True)
    printed = capsys.readouterr().out
    assert f"{newest.name} is damaged" in printed
    assert "resumed at step 8 of 12" in printed
    assert weights(small) == expected
    assert [record["epoch"] for record in lines(small)] == [1, 2, 3]


def test_sigterm_ends_with_one_line_and_can_be_resumed(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikesim.train.step import Stepper

    small, step = config("train.checkpoint_steps=1"), Stepper.step

    def tell(self: Stepper, parts: Any, number: int, *rest: Any) -> Any:
        if number == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, parts, number, *rest)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", tell)
        with pytest.raises(BackendError, match=r"stopped by SIGTERM.*--resume"):
            train(small)
    assert signal.getsignal(signal.SIGTERM) == before
    assert train(small, resume=True).epochs == 3


def test_lost_worker_ends_with_one_line_and_can_be_resumed(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikesim.train.step import Stepper

    small, step = config("train.checkpoint_steps=1", "data.workers=1"), Stepper.step

    def kill(self: Stepper, parts: Any, number: int, *rest: Any) -> Any:
        if number == 1:
            for worker in multiprocessing.active_children():
                worker.kill()
                worker.join()
        return step(self, parts, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", kill)
        with pytest.raises(BackendError, match=r"prepares its batches.*--resume"):
            train(small)
    assert train(small, resume=True).epochs == 3
