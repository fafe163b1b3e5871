"""What a person sees of a training: a bar on a terminal, plain lines in a log."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 30.0
"""Seconds between lines where the output is no terminal."""


class Screen:
    """Progress of a training on standard output; silent on all processes but the first."""

    def __init__(self, *, speaks: bool) -> None:
        self.console = Console(quiet=not speaks, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._lines_at = 0.0
        self._started = (0, 0.0)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    def start(self, done: int, total: int) -> None:
        """Show the bar: ``done`` of ``total`` steps."""
        self._started = (done, time.monotonic())
        if self.console.is_terminal and not self.console.quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._bar.start()
            self._bar.add_task("training", total=total, completed=done, numbers="")

    def step(self, done: int, total: int, epoch: int, summary: Mapping[str, float]) -> None:
        """After each optimizer step: means of the epoch so far."""
        numbers = (
            f"loss {summary['loss']:.3f}  accuracy {summary['accuracy']:.1%}  "
            f"{_short(summary['events_per_second'])} events/s"
        )
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, description=f"epoch {epoch}", numbers=numbers)
        elif time.monotonic() - self._lines_at > QUIET_SECONDS:
            self._lines_at = time.monotonic()
            first, since = self._started
            left = (total - done) * (self._lines_at - since) / max(done - first, 1)
            self.say(f"epoch {epoch}  step {done}/{total}  {numbers}  {_clock(left)} left")

    def epoch(self, record: Mapping[str, Any], epochs: int) -> None:
        """One line per finished epoch."""
        text = (
            f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.4f}  "
            f"accuracy {record['accuracy']:.1%}"
        )
        for name in ("validation", "test"):
            if f"{name}_accuracy" in record:
                text += f"  {name} {record[f'{name}_accuracy']:.1%}"
        self.say(
            f"{text}  lr {record['lr']:.2e}  {_short(record['events_per_second'])} events/s  "
            f"{record['seconds']:.1f} s"
        )

    def stop(self) -> None:
        """Take the bar away; may be called twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _short(number: float) -> str:
    """A large number in few characters.

    >>> _short(1234567.0)
    '1.2M'
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _clock(3725)
    '1:02:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
