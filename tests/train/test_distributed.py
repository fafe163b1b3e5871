"""Two processes equal one; a lost process ends the run with one line and a whole checkpoint."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import spikesim
from spikesim.batch_norm import BatchNorm
from spikesim.train.checkpoint import load_checkpoint
from spikesim.train.config import Config
from spikesim.train.distributed import synchronise_batch_norm
from spikesim.train.loop import train
from spikesim.train.outcome import conclude
from spikesim.train.run import Run
from spikesim.world import World

ROOT = Path(spikesim.__file__).resolve().parent.parent
Make = Callable[..., Config]

# 64 bit and the same numbers in another order of summation; anything real is far larger.
TOLERANCE = 1e-10
# One step per epoch, so that metrics.jsonl has the loss of every step.
TWENTY_STEPS = (
    "train.epochs=20", "data.batch_size=32", "train.dtype=float64", "train.mixup=0",
    "train.ema=0", "train.checkpoint_steps=null",
)  # fmt: skip


def torchrun(recipe: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *("-m", "spikesim", "train", str(recipe), *arguments),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, text=True, stdout=pipe, stderr=pipe)


def losses(config: Config) -> list[float]:
    return [record["loss"] for record in Run(config.run.path).metrics()]


def test_two_processes_equal_one(recipe: Path, config: Make) -> None:
    """Own statistics per micro-batch, and shared statistics of the whole batch."""
    own = ("train.sync_batchnorm=false", "run.name=own-1")
    parts = config(*TWENTY_STEPS, *own, "train.accumulate=2")
    train(parts)  # also packs the recordings, which both processes then read
    running = [
        torchrun(
            recipe, *TWENTY_STEPS, "train.sync_batchnorm=false", "train.ema=0.9", "run.name=own-2"
        ),
        torchrun(recipe, *TWENTY_STEPS, "run.name=shared-2"),
    ]
    whole = config(*TWENTY_STEPS, "run.name=shared-1")
    train(whole)
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    for kind, one in (("own", parts), ("shared", whole)):
        two = config(*TWENTY_STEPS, f"run.name={kind}-2")
        assert len(losses(one)) == 20
        assert losses(two) == pytest.approx(losses(one), abs=TOLERANCE)
        assert losses(one)[-1] < losses(one)[0]
    assert losses(parts) != pytest.approx(losses(whole), abs=1e-3)
    # Own statistics differ between processes: all were judged with the saved, averaged ones.
    own_two = Run(config("run.name=own-2").run.path)
    judged = conclude(own_two.model(), own_two.dataset(), own_two.config, World(), 0.0)
    assert own_two.result is not None
    assert judged.confusion == own_two.result.confusion
    assert judged.firing_rates == pytest.approx(own_two.result.firing_rates, abs=1e-12)
    # With shared statistics everything is equal: weights, running statistics, and the test.
    two, one = (Run(config(f"run.name=shared-{n}").run.path) for n in (2, 1))
    expected = one.checkpoint().tensors["model"]
    for name, value in two.checkpoint().tensors["model"].items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-8, msg=name)
    assert one.result is not None
    assert two.result is not None
    assert two.result.confusion == one.result.confusion
    assert two.result.firing_rates == pytest.approx(one.result.firing_rates, abs=1e-9)


def children(process: int) -> Iterator[tuple[int, str]]:
    """Process number and rank of each worker that ``torchrun`` started."""
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            for entry in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                if entry.startswith(b"RANK="):
                    yield child, entry[5:].decode()


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes in /proc")
def test_lost_process_ends_with_one_line_and_can_be_resumed(
    recipe: Path, config: Make, rank: str
) -> None:
    settings = ("train.epochs=400", "train.checkpoint_steps=2")
    lost = config(*settings, "run.name=lost")
    process = torchrun(recipe, *settings, "run.name=lost")
    folder = lost.run.path / "checkpoint"
    while process.poll() is None and not list(folder.glob("step-*")):
        time.sleep(0.01)
    victim = next(number for number, found in children(process.pid) if found == rank)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    own = [line for line in errors.splitlines() if line.startswith("error")]
    assert len(own) == 1, errors
    assert "--resume" in own[0]
    assert "lost contact with another process" in own[0] or "stopped by SIGTERM" in own[0]
    assert Run(lost.run.path).result is None
    found = load_checkpoint(folder)
    assert found is not None
    assert found.damaged == ""
    # Goes on, here with one process in place of two.
    step = found.state["step"]
    resumed = train_some(lost, steps=5)
    assert resumed >= step + 4


class EnoughError(Exception):
    """Ends a training early."""


def train_some(config: Config, steps: int) -> int:
    """Resume for some steps; the step of the newest checkpoint then."""
    from spikesim.train.step import Stepper

    step, left = Stepper.step, steps
    with pytest.MonkeyPatch.context() as patch:

        def counted(*arguments: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise EnoughError
            return step(*arguments)  # type: ignore[arg-type]

        patch.setattr(Stepper, "step", counted)
        with pytest.raises(EnoughError):
            train(config, resume=True)
    found = load_checkpoint(config.run.path / "checkpoint")
    assert found is not None
    return int(found.state["step"])


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("momentum", [0.1, None])
def test_sync_batch_norm_of_one_is_torchs(momentum: float | None) -> None:
    theirs = nn.BatchNorm2d(3, momentum=momentum).double()
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours = synchronise_batch_norm(nn.Sequential(nn.BatchNorm2d(3, momentum=momentum)).double(),
                                  torch.device("cpu"))  # fmt: skip
    ours[0].load_state_dict(theirs.state_dict())
    assert isinstance(ours[0], BatchNorm)
    assert ours[0].synchronised
    assert list(ours.state_dict()) == [f"0.{name}" for name in theirs.state_dict()]
    for _ in range(3):
        x = (100 + torch.randn(4, 3, 5, 2, dtype=torch.float64)).requires_grad_()
        y = x.detach().clone().requires_grad_()
        weight = torch.randn_like(x)
        (ours(x) * weight).sum().backward()
        (theirs(y) * weight).sum().backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-12)
    for a, b in zip(ours[0].parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[0].state_dict()[name], value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.usefixtures("alone")
def test_sync_batch_norm_gradient_by_finite_differences() -> None:
    norm = BatchNorm(2).double()
    norm.synchronised = True
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (x,))
    bare = BatchNorm(2, affine=False, track_running_stats=False).double()
    bare.synchronised = True
    assert torch.autograd.gradcheck(bare, (x,))
    with pytest.raises(ValueError, match="batch norm of 2 channels takes"):
        norm(torch.zeros(3, dtype=torch.float64))
