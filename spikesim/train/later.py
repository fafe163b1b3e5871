"""Numbers on their way from the device to the host, which does not wait for them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Later:
    """A copy of a few numbers, started now and read when they are needed.

    On CUDA the copy is queued behind the work that makes the numbers; :meth:`read` waits for it
    alone, not for what was queued afterwards.

    >>> Later(torch.tensor([1.0, 2.0])).read()
    [1.0, 2.0]
    """

    def __init__(self, values: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._host = values.detach()
        if values.is_cuda:
            # Only into page-locked memory does a copy run by itself.
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values.detach(), non_blocking=True)
            self._event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._event.record()

    def read(self) -> Sequence[Any]:
        """The numbers, as nested lists."""
        if self._event is not None:
            self._event.synchronize()
        numbers: Sequence[Any] = self._host.tolist()
        return numbers
