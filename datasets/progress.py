"""A progress bar on stderr for work that takes longer than a second."""

import sys
import time
from types import TracebackType
from typing import Any

_PATIENCE_S = 1.0


class Report:
    """``with Report("packing", total) as report: ... report.advance()``.

    Nothing is shown for quick work, nor where stderr is not a terminal.
    """

    def __init__(self, what: str, total: int) -> None:
        self.what = what
        self.total = total
        self._done = 0
        self._start = time.monotonic()
        self._shown = self._start
        self._bar: Any = None

    def __enter__(self) -> "Report":
        return self

    def advance(self, count: int = 1) -> None:
        """``count`` more are done."""
        self._done += count
        now = time.monotonic()
        if now - self._shown < 0.1 or now - self._start < _PATIENCE_S:
            return
        self._shown = now
        if self._bar is None:
            if not sys.stderr.isatty():
                return
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self.what, total=self.total)
            self._bar.start()
        self._bar.update(self._task, completed=self._done)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
