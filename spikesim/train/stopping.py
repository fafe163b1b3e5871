"""SIGTERM ends a training with one line, whatever the training is doing at that moment."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from spikesim.errors import Stopped

GRACE_SECONDS = 10.0
"""How long the main thread may take to end; schedulers and ``torchrun`` kill after 30 s."""

WORDS = "stopped by SIGTERM; run the same command with --resume to go on from the last checkpoint"


# A process that prepares batches is a copy of this one: what it is told is not told to this one.
os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))


@contextmanager
def stopped_by_signal() -> Iterator[None]:
    """Inside, SIGTERM (a scheduler, or ``torchrun`` after a lost process) raises :class:`Stopped`.

    Python runs a handler between two lines of Python alone: a main thread that waits inside a
    library, for a process that is gone, would never come to it. A second thread sees the signal
    too and ends the process where the first has not within :data:`GRACE_SECONDS`. What is on the
    disk is whole at any moment, so nothing is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped(WORDS)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended = threading.Event()
    threading.Thread(target=_watch, args=(reader, ended), daemon=True).start()
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(wakeup)
        ended.set()
        os.close(writer)


def _watch(reader: int, ended: threading.Event) -> None:
    """Wait for SIGTERM, or for the end of the training, which closes the pipe."""
    with os.fdopen(reader, "rb", buffering=0) as numbers:
        while (number := numbers.read(1)) and number[0] != signal.SIGTERM:
            pass
    if number and not ended.wait(GRACE_SECONDS):
        print(f"error: {WORDS} (it hung and was ended)", file=sys.stderr, flush=True)
        os._exit(1)
