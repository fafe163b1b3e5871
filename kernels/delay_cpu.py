"""Sums of late spikes on the CPU: events are listed once, then numba goes from synapse to synapse.

Results are float32 sums, float64 of float64, in the order of inputs, then of time, for any number
of threads: samples, and for the gradient of the taps outputs, are independent.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.kernels.call import real_dtype
from spikesim.kernels.delay_taps import folded, unfolded
from spikesim.kernels.threads import GRAIN, share

_TAPS = 4
"""Of a synapse in the compiled loops, if it has more than one."""
_CACHE = 1 << 15
"""Bytes of the sums of a few outputs over all steps; they stay in a core's first cache."""


class _Events:
    """What is not zero in ``x``, column by column."""

    def __init__(self, x: NDArray[np.floating]) -> None:
        from spikesim.kernels import delay_numba

        _, batch, inputs = x.shape
        counts = np.zeros((batch, inputs), np.int64)
        _each(lambda b, e: delay_numba.count_events(x, counts, b, e), batch)
        self.begins = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts, out=self.begins[1:])
        self.times = np.empty(self.begins[-1], np.uint32)
        self.values = np.empty(self.begins[-1], x.dtype)
        _each(lambda b, e: delay_numba.list_events(x, *self.arrays, b, e), batch)

    @property
    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        return self.begins, self.times, self.values


def forward(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> Tensor:
    """``y [T, B, O]``; see :func:`spikesim.kernels.delay.delayed_taps`."""
    from spikesim.kernels import delay_numba

    real, values, first, spill = _arrays(x, taps, start)
    y = torch.empty(*x.shape[:2], taps.shape[-1], dtype=real)
    events, to = _Events(_real(x, real)), y.numpy()
    tile = max(8, _CACHE // (y.element_size() * (len(x) + spill)))

    def work(b: int, e: int) -> None:
        delay_numba.scatter(*events.arrays, values, first, spill, tile, to, b, e)

    if y.numel():
        _each(work, x.shape[1])
    return y.to(x.dtype)


def backward(
    grad: Tensor,
    x: Tensor,
    taps: Tensor,
    start: Tensor,
    delays: int,
    of_x: bool,
    of_taps: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``x`` and of ``taps``, where they are wanted."""
    from spikesim.kernels import delay_numba

    if not grad.numel() or not x.numel():
        return torch.zeros_like(x) if of_x else None, torch.zeros_like(taps) if of_taps else None
    real, values, first, spill = _arrays(x, taps, start)
    dy, dx, d_taps = _real(grad, real), None, None
    if of_x:
        dx = torch.empty(x.shape, dtype=real)
        of_inputs = dx.numpy()
        _each(lambda b, e: delay_numba.pull(dy, values, first, spill, of_inputs, b, e), x.shape[1])
        dx = dx.to(x.dtype)
    if of_taps:
        events, sums = _Events(_real(x, real)), np.empty_like(values)
        tile = max(8, _CACHE // (values.itemsize * (len(x) + spill)))
        outputs = taps.shape[-1]

        def work(begin: int, end: int) -> None:
            for left in range(begin * tile, min(end * tile, outputs), tile):
                right = min(left + tile, outputs)
                delay_numba.gather(*events.arrays, dy, first, spill, sums, left, right)

        _each(work, -(-outputs // tile))
        d_taps = unfolded(torch.from_numpy(sums), taps).to(taps.dtype)
    return dx, d_taps


def _arrays(
    x: Tensor, taps: Tensor, start: Tensor
) -> tuple[torch.dtype, NDArray[np.floating], NDArray[np.uint32], int]:
    """Dtype of sums, taps, where they begin, and steps that they reach beyond the last one."""
    real = real_dtype(x.dtype)
    size = 1 if taps.shape[0] == 1 else _TAPS
    values, first = folded(taps.detach(), start, size)
    # What comes after the last step is lost, however late.
    first = first.clamp(max=len(x))
    spill = int(first.max()) + size if first.numel() else size
    return real, _real(values, real), first.numpy().view(np.uint32), spill


def _real(x: Tensor, real: torch.dtype) -> NDArray[np.floating]:
    array: NDArray[np.floating] = x.detach().to(real).contiguous().numpy()
    return array


def _each(work: Callable[[int, int], None], count: int) -> None:
    """Call ``work(begin, end)`` for all of ``count`` pieces that are worth a thread each."""
    share(work, count, GRAIN, 1)
