"""A step that never waits: late numbers, and steps left out on the device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from spikesim.errors import UserError
from spikesim.train import training
from spikesim.train.checkpoint import load_checkpoint
from spikesim.train.config import Config, TrainSettings
from spikesim.train.ema import EMA
from spikesim.train.later import Later
from spikesim.train.loop import train
from spikesim.train.metrics import read_metrics
from spikesim.train.run import Run

Helper = Callable[..., Any]
Make = Callable[..., Config]


@pytest.mark.parametrize("amp", ["off", "fp16"])
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("first", [True, False])
def test_step_with_a_nan_is_left_out_before_it_is_read(
    optimizer: str, amp: str, first: bool, batches: Helper, small: Helper, assert_same: Helper
) -> None:
    stepper = small(TrainSettings(optimizer=optimizer, clip_norm=1.0, weight_decay=0.1, amp=amp))
    ((good,), (bad,), *_) = batches(2, 1)
    if not first:
        stepper.step([good], 0, 0, 0.01).read()
    trained = {name: p.detach().clone() for name, p in stepper.model.named_parameters()}
    memory = stepper.optimizer.state_dict()["state"]
    before = {f"{i}.{k}": v.clone() for i, own in memory.items() for k, v in own.items()}
    bad[0][0, 0, 0] = float("nan")
    pending = stepper.step([bad], 1, 0, 0.01)
    assert_same(trained, dict(stepper.model.named_parameters()))
    memory = stepper.optimizer.state_dict()["state"]
    after = {f"{i}.{k}": v for i, own in memory.items() for k, v in own.items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(torch.isfinite(value).all() for value in after.values())
    if amp == "fp16":  # taken for an overflow: the loss is finite, and its scale can be lowered
        assert pending.read().gradient_norm != pending.read().gradient_norm
        assert stepper.scaler.get_scale() == 2.0**15
    else:
        with pytest.raises(UserError, match="became NaN or infinite at step 1"):
            pending.read()


def test_average_does_not_depend_on_how_it_is_taken(assert_same: Helper) -> None:
    model = nn.Linear(3, 2)
    whole, halves = EMA(model, 0.9), EMA(model, 0.9)
    for _ in range(20):
        nn.init.normal_(model.weight)
        whole.update(model)
        halves.count()
        halves.blend(model)
    assert_same(whole.weights, halves.weights)
    assert whole.updates == halves.updates == 20


def test_numbers_are_a_copy_of_that_moment() -> None:
    values = torch.arange(4.0).view(2, 2)
    assert Later(values).read() == [[0.0, 1.0], [2.0, 3.0]]


def one_step_ahead(patch: pytest.MonkeyPatch) -> None:
    """Read as on a GPU: the numbers of a step after the next one was started."""
    finish = training.Training._finish_steps
    seen: list[int] = []

    def late(self: training.Training, *, ahead: int | None = None) -> None:
        seen.append(len(self.launched))
        finish(self, 1 if ahead is not None else 0)

    patch.setattr(training.Training, "_finish_steps", late)


def without_times(config: Config) -> list[dict[str, object]]:
    lines = read_metrics(Run(config.run.path).metrics_path)
    dropped = ("seconds", "events_per_second")
    return [{k: v for k, v in line.items() if k not in dropped} for line in lines]


def test_late_numbers_are_the_same_numbers(
    config: Make, monkeypatch: pytest.MonkeyPatch, assert_same: Helper, weights: Helper
) -> None:
    settings = ("train.epochs=2", "train.checkpoint_steps=3", "train.monitor_steps=2")
    soon, late = (config(*settings, f"run.name={name}") for name in ("soon", "late"))
    train(soon)
    with monkeypatch.context() as patch:
        one_step_ahead(patch)
        train(late)
    assert_same(weights(soon), weights(late))
    assert without_times(soon) == without_times(late)
    assert without_times(late)[0]["step"] == 4


def test_checkpoint_never_holds_a_step_that_was_not_read(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(
        "train.lr=1e38", "train.warmup_epochs=0", "train.clip_norm=null", "train.mixup=0",
        "train.checkpoint_steps=1", "train.ema=0",
    )  # fmt: skip
    one_step_ahead(monkeypatch)
    with pytest.raises(UserError, match="became NaN or infinite at step"):
        train(settings)
    (warning,) = [w for w in Run(settings.run.path).warnings() if "became NaN" in w["message"]]
    found = load_checkpoint(settings.run.path / "checkpoint")
    assert found is not None
    assert found.state["step"] == warning["step"] >= 1
