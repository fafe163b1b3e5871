"""Capturing CUDA graphs of what users write, which may not be possible."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from spikesim.errors import BackendError

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE


@contextmanager
def capturing(
    graph: torch.cuda.CUDAGraph,
    stream: torch.cuda.Stream,
    refused: str,
    pool: "_POOL_HANDLE | None" = None,
) -> Iterator[None]:
    """Capture the calls of a block; where that fails, everything is as it was before.

    Args:
        graph: takes the calls.
        stream: to capture on; its device is the current one within.
        refused: text of the error, with ``{cause}`` in it.
        pool: memory that other graphs use too.

    Raises:
        BackendError: the calls cannot be captured.
    """
    pool = torch.cuda.graph_pool_handle() if pool is None else pool
    within: RuntimeError | None = None
    with torch.cuda.device(stream.device):
        before = torch.cuda.current_stream()
        try:
            # Threads that prepare batches go on allocating: their calls must not end the capture.
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                try:
                    yield
                except RuntimeError as error:
                    within = error
                    raise
        except RuntimeError as error:
            if error is not within:
                _recover(before, stream, pool)
            first = within or error
            cause = (str(first) or type(first).__name__).splitlines()[0]
            raise BackendError(refused.format(cause=cause)) from error


def _recover(before: torch.cuda.Stream, stream: torch.cuda.Stream, pool: "_POOL_HANDLE") -> None:
    """Undo what torch leaves undone where the end of a capture fails.

    It stays on the stream of the capture, keeps the pool, defers the reuse of all memory that
    several streams use, and its generator of random numbers waits for a capture to end.
    """
    torch.cuda.set_stream(before)
    torch._C._cuda_endAllocateToPool(stream.device_index, pool)
    torch._C._cuda_releasePool(stream.device_index, pool)
    with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream, capture_error_mode="thread_local"):
        torch.zeros(1, device=stream.device)
