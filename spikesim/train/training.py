"""A training as it runs: epochs, steps, what is written when, and what a checkpoint holds."""

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.backend import set_backend
from spikesim.delays import Delayed, WidthSchedule
from spikesim.errors import UserError
from spikesim.models.registry import sizes_of
from spikesim.seeds import key
from spikesim.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from spikesim.train.config import Config, TrainSettings
from spikesim.train.data import (
    Batch,
    batches_of_epoch,
    check_batch_size,
    load_split,
    load_training,
    micro_batches,
    read_batches,
)
from spikesim.train.distributed import share_buffers
from spikesim.train.later import Later
from spikesim.train.metrics import Meter, MetricsFile
from spikesim.train.monitor import RateMonitor
from spikesim.train.outcome import conclude, judge
from spikesim.train.progress import Screen
from spikesim.train.run import Result, Run, Task, build_model
from spikesim.train.schedule import learning_rate
from spikesim.train.step import Pending, Stepper
from spikesim.train.tensorboard import Scalars
from spikesim.world import World


def write_report(run: Run, screen: Screen) -> None:
    """Write the report of a finished run, and say where it is."""
    from spikesim.report import write

    screen.say(f"report: {write(run)}")


def width_schedule(model: nn.Module, settings: TrainSettings) -> WidthSchedule | None:
    """How the bumps of a model's delays shrink, if they do."""
    learn = any(isinstance(m, Delayed) and m.delay.requires_grad for m in model.modules())
    if settings.delay_shrink == 0 or not learn:
        return None
    return WidthSchedule(model, settings.epochs, until=settings.delay_shrink)


@dataclass(frozen=True)
class Launched:
    """An optimizer step that was started, with what is to be written of it once it is done."""

    pending: Pending
    number: int
    rate: float
    samples: int
    events: float
    counts: Later | None


class Training:
    """The state of a running training, and how it moves on; :meth:`open` comes first."""

    run: Run
    metrics: MetricsFile | None = None
    scalars: Scalars | None = None
    saved_at: float

    def __init__(self, config: Config, world: World, device: torch.device, screen: Screen) -> None:
        self.config, self.world, self.screen = config, world, screen
        # Data may have to be prepared first, which takes long: a mistake is told before.
        sizes_of(config.model.name, config.model.preset, config.model.sizes)
        self.dataset, self.validation = load_training(config)
        check_batch_size(config, len(self.dataset), world)
        if config.train.selection == "validation" and self.validation is None:
            raise UserError(
                "train.selection=validation needs validation recordings: set data.validation, "
                "data.validation_groups or data.validation_split"
            )
        self.task = Task.of(self.dataset)
        # Before torch builds an optimizer, which takes a second: something to see at once.
        screen.say(
            f"{config.data.name}: {len(self.dataset)} recordings, {self.steps} steps in "
            f"{config.train.all_epochs} epochs"
        )
        torch.manual_seed(key(config.train.seed, "weights"))
        self.stepper = Stepper(build_model(config, self.task), config.train, device, world)
        self.monitor = RateMonitor(self.stepper.model)
        self.widths = width_schedule(self.stepper.model, config.train)
        self.test = load_split(config, "test")
        self.meter, self.seconds = Meter(), 0.0
        self.step, self.epoch, self.batch = 0, 0, 0
        self.rates: dict[str, float] = {}
        self.best_accuracy = -1.0
        self.best_weights: dict[str, Tensor] = {}
        self.launched: deque[Launched] = deque()
        self.since = 0.0

    def open(self, run: Run) -> None:
        """Take up a run where its newest checkpoint is, or at its beginning."""
        self.run = run
        found = load_checkpoint(run.path / "checkpoint")
        if found is not None:
            self._restore(found)
        if self.world.is_first:
            keep = int(found.state["metrics_bytes"]) if found else 0
            self.metrics = MetricsFile(run.metrics_path, keep)
            if self.config.train.tensorboard:
                self.scalars = Scalars(run.path / "tensorboard", self.step)
        self.saved_at = time.monotonic()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return len(self.dataset) // self.config.data.batch_size

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps_per_epoch * self.config.train.all_epochs

    def _rate(self, step: int, group: str = "") -> float:
        """The learning rate of a step: that of its middle, which is 0 neither first nor last."""
        s = self.config.train
        epoch = (step + 0.5) / self.steps_per_epoch
        if s.rate_changes == "epoch":
            epoch = math.floor(epoch)
        return learning_rate(epoch, s.of_group(group) if group else s)

    def run_to_end(self) -> Result:
        """All epochs that are left, the test, and the report."""
        if self.step:
            self.screen.say(f"resumed at step {self.step} of {self.steps}")
        self.screen.start(self.step, self.steps)
        while self.epoch < self.config.train.all_epochs:
            self._run_epoch()
        self.screen.stop()
        if self.scalars is not None:
            self.scalars.close()
        result = conclude(self._judged_model(), self.test, self.config, self.world, self.seconds)
        low, high = (f"{bound:.1%}" for bound in result.interval)
        self.screen.say(
            f"test accuracy {result.accuracy:.1%} ({result.correct} of {result.total}, "
            f"95 % interval {low} to {high})"
        )
        if self.world.is_first:
            self.run.write_result(result)
            if self.config.train.report:
                write_report(self.run, self.screen)
        self.world.wait()
        return result

    def _judged_model(self) -> nn.Module:
        """A fresh model with the weights that count: best epoch, averaged, or last."""
        stepper = self.stepper
        averaged = stepper.ema.weights if stepper.ema else stepper.model.state_dict()
        model = build_model(self.config, self.task).to(stepper.device)
        set_backend(model, self.config.train.backend)
        load_weights(model, self.best_weights or averaged, str(self.run.path))
        # Without shared batch statistics each process has its own: the saved ones are the first's.
        share_buffers(model, self.world)
        return model

    def _run_epoch(self) -> None:
        s, d = self.config.train, self.config.data
        self.dataset.set_epoch(self.epoch)
        if self.widths is not None:
            self.widths.set_epoch(self.epoch)
        batches = batches_of_epoch(len(self.dataset), d.batch_size, s.seed, self.epoch)
        batches = batches[self.batch :]
        mine = micro_batches(batches, s.accumulate, self.world)
        reader = read_batches(
            self.dataset, mine, workers=d.workers, pin=self.stepper.device.type == "cuda"
        )
        self.since = time.monotonic()
        for indices in batches:
            parts = [next(reader) for _ in range(s.accumulate)]
            self._launch_step(parts, indices)
            # The numbers of a step are read while the device runs the next one.
            self._finish_steps(ahead=1 if self.stepper.device.type == "cuda" else 0)
            if self.batch < self.steps_per_epoch and self._is_due():
                self._save()
        self._finish_steps()
        self._end_epoch()

    def _launch_step(self, parts: list[Batch], indices: list[int]) -> None:
        """Start one optimizer step; on CUDA this returns before it is done."""
        s = self.config.train
        rate = self._rate(self.step)
        self.monitor.active = s.monitor_steps > 0 and self.step % s.monitor_steps == 0
        rates = {name: self._rate(self.step, name) for name in s.groups}
        pending = self.stepper.step(parts, self.step, self.epoch, rate, self.monitor.active, rates)
        counts = Later(self.monitor.take(self.world)) if self.monitor.active else None
        events = float(self.dataset.counts[indices].sum())
        self.launched.append(Launched(pending, self.step, rate, len(indices), events, counts))
        self.step, self.batch = self.step + 1, self.batch + 1

    def _finish_steps(self, ahead: int = 0) -> None:
        """Read and write the numbers of all steps but the newest ``ahead``."""
        while len(self.launched) > ahead:
            self._finish_step(self.launched.popleft())

    def _finish_step(self, launched: Launched) -> None:
        step = launched.number
        try:
            done = launched.pending.read()
        except UserError as error:
            self._warn(str(error), step)
            raise
        if launched.counts is not None:
            self._look_at_rates(launched.counts, step)
        now = time.monotonic()
        seconds, self.since = now - self.since, now
        self.seconds += seconds
        self.meter.add(done.loss, done.correct, launched.samples, launched.events, seconds)
        self.screen.step(step + 1, self.steps, self.epoch + 1, self.meter.summary())
        if self.scalars is not None:
            numbers = {"loss": done.loss, "lr": launched.rate, "gradient_norm": done.gradient_norm}
            self.scalars.write("step", numbers, step + 1)

    def _look_at_rates(self, counts: Later, step: int) -> None:
        self.rates = self.monitor.named(counts.read())
        for name, rate in self.monitor.newly_dead(self.rates).items():
            what = "never fires" if rate == 0 else "fires at every step"
            self._warn(
                f"layer {name} {what} (rate {rate:.0f}, step {step}): a dead layer learns "
                "nothing; check its input scale and threshold, or lower train.lr",
                step,
                layer=name,
                rate=rate,
            )

    def _warn(self, message: str, step: int, **details: Any) -> None:
        self.screen.say(f"warning: {message}")
        if self.metrics is not None:
            place = {"kind": "warning", "epoch": self.epoch + 1, "step": step}
            self.metrics.write({**place, "message": message, **details})

    def _end_epoch(self) -> None:
        """Validate, write the metrics, then the checkpoint that counts them."""
        s = self.config.train
        record: dict[str, Any] = {"kind": "epoch", "epoch": self.epoch + 1, "step": self.step}
        record |= self.meter.summary()
        record["lr"] = self._rate(self.step - 1)
        on_test = s.selection == "as_published"
        model = self._judged_model() if self.validation or on_test else None
        for name, dataset in (("validation", self.validation), ("test", self.test)):
            if model is not None and dataset is not None and (name == "validation" or on_test):
                seen = judge(model, dataset, self.config, self.world)
                record[f"{name}_loss"], record[f"{name}_accuracy"] = seen.loss, seen.accuracy
        judged_by = {"as_published": "test_accuracy", "validation": "validation_accuracy"}
        accuracy = record.get(judged_by.get(s.selection, ""), -1.0)
        if model is not None and accuracy > self.best_accuracy:
            self.best_accuracy, self.best_weights = accuracy, model.state_dict()
        record["firing_rates"] = self.rates
        self.epoch, self.batch, self.meter = self.epoch + 1, 0, Meter()
        if self.metrics is not None:
            self.metrics.write(record)
        if self.scalars is not None:
            self.scalars.write("epoch", record, self.step)
            self.scalars.write("firing_rate", self.rates, self.step)
        self.screen.epoch(record, s.all_epochs)
        self._save()

    def _is_due(self) -> bool:
        s = self.config.train
        by_steps = s.checkpoint_steps is not None and self.step % s.checkpoint_steps == 0
        passed = time.monotonic() - self.saved_at
        return by_steps or (s.checkpoint_seconds is not None and passed >= s.checkpoint_seconds)

    def _save(self) -> None:
        """Write a checkpoint; only the first process does."""
        # What a checkpoint counts is known, and no step in it was left out for a NaN.
        self._finish_steps()
        self.saved_at = time.monotonic()
        if self.metrics is None:
            return
        stepper = self.stepper
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
            "meter": self.meter.to_dict(),
            "metrics_bytes": self.metrics.bytes,
            "rates": self.rates,
            "dead": self.monitor.dead,
            "best_accuracy": self.best_accuracy,
            "scaler": stepper.scaler.state_dict(),
            "ema_updates": stepper.ema.updates if stepper.ema else 0,
            "task": asdict(self.task),
            "recordings": len(self.dataset),
        }
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": stepper.model.state_dict(),
            "optimizer": optimizer_tensors(stepper.optimizer),
        }
        if stepper.ema is not None:
            tensors["ema"] = stepper.ema.weights
        if self.best_weights:
            tensors["best"] = self.best_weights
        save_checkpoint(self.run.path / "checkpoint", self.step, state, tensors)

    def _restore(self, found: Checkpoint) -> None:
        """Continue from a checkpoint."""
        if found.damaged:
            self.screen.say(f"warning: {found.damaged}; going on from the one before")
        state, stepper = found.state, self.stepper
        trained = Task.from_dict(state["task"]), state["recordings"]
        if trained != (self.task, len(self.dataset)):
            raise UserError(
                f"{self.run.path} was trained on {trained[1]} recordings of {trained[0]}, the "
                f"dataset now has {len(self.dataset)} of {self.task}; restore the dataset it began "
                "with, or start another run.name"
            )
        load_weights(stepper.model, found.tensors["model"], str(self.run.path))
        restore_optimizer(stepper.optimizer, found.tensors["optimizer"])
        stepper.scaler.load_state_dict(state["scaler"])
        if stepper.ema is not None:
            stepper.ema.load(found.tensors["ema"], state["ema_updates"])
        self.best_weights = dict(found.tensors.get("best", {}))
        self.best_accuracy = state["best_accuracy"]
        self.step, self.epoch, self.batch = state["step"], state["epoch"], state["batch"]
        self.seconds, self.meter = state["seconds"], Meter(**state["meter"])
        self.rates, self.monitor.dead = state["rates"], state["dead"]
