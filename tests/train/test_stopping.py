"""SIGTERM ends a process that waits inside a library, where Python's handlers do not run."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.synchronize import Event

import pytest

from spikesim.errors import Stopped
from spikesim.train.stopping import stopped_by_signal

# A mutex of zeros is an open one; locking it twice waits for ever, and no signal ends that wait.
STUCK = """
import ctypes, threading
from spikesim.train import stopping
stopping.GRACE_SECONDS = 0.2
lock = ctypes.CDLL(None).pthread_mutex_lock
mutex = ctypes.create_string_buffer(64)
with stopping.stopped_by_signal():
    lock(mutex)
    threading.Timer(0.3, print, ["stuck"], {"flush": True}).start()
    lock(mutex)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="makes a mutex of glibc's zeros")
def test_a_process_stuck_in_a_library_ends_with_one_line() -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", STUCK], text=True, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert errors.startswith("error: stopped by SIGTERM; ")
    assert "--resume" in errors


def test_what_was_there_before_comes_back_and_nothing_stays() -> None:
    handler, threads = signal.getsignal(signal.SIGTERM), threading.active_count()
    with pytest.raises(Stopped, match="stopped by SIGTERM"), stopped_by_signal():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert signal.set_wakeup_fd(-1) == -1
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads


def sleep_long(awake: Event) -> None:
    awake.set()
    time.sleep(60)


def test_a_signal_to_a_forked_copy_is_not_this_process_s(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []
    monkeypatch.setattr("spikesim.train.stopping.GRACE_SECONDS", 0.0)
    fork = multiprocessing.get_context("fork")
    awake = fork.Event()
    with stopped_by_signal():
        copy = fork.Process(target=sleep_long, args=(awake,))
        copy.start()
        awake.wait()
        monkeypatch.setattr(os, "_exit", told.append)
        copy.terminate()
        copy.join()
        time.sleep(0.1)
    assert told == []
    capfd.readouterr()  # the copy's own way to end
