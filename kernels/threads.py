"""Compiled loops on several threads of the CPU.

numba's own threads take seconds to compile for; ranges of neurons are independent, so that plain
threads that call a loop without the interpreter's lock serve as well.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

GRAIN = 1 << 16
"""Values that are worth another thread: 20 to 50 us of work, about what it costs to wake one."""


def share(work: Callable[[int, int], None], neurons: int, steps: int, size: int) -> None:
    """Call ``work(start, stop)`` for all neurons, on as many threads as torch would use."""
    threads = torch.get_num_threads()
    # Two pieces a thread, since others may use the cores too; whole blocks.
    piece = max(-(-neurons // (2 * threads)), GRAIN // steps)
    piece = -(-piece // size) * size
    if threads == 1 or neurons <= piece:
        work(0, neurons)
        return
    starts = iter(range(0, neurons, piece))  # shared: next() is atomic

    def take() -> None:
        for start in starts:
            work(start, min(start + piece, neurons))

    helpers = [pool().submit(take) for _ in range(min(threads, -(-neurons // piece)) - 1)]
    take()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


@cache
def pool() -> ThreadPoolExecutor:
    """Threads for work that waits for no other work."""
    return ThreadPoolExecutor(os.cpu_count(), "spikesim")


# A forked process has none of the threads.
os.register_at_fork(after_in_child=pool.cache_clear)
