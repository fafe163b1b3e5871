"""Sums of late spikes on a CUDA device, through CuPy.

Events are listed once. A warp then adds up 32 outputs of a sample in shared memory, synapse after
synapse; for the gradient of taps it adds up what it finds there. The gradient of the input is dense
in time: :mod:`spikesim.kernels.delay_spectrum`. The same bits in each run.
"""

import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from spikesim.kernels.call import STORAGES, real_dtype
from spikesim.kernels.delay_spectrum import input_gradient
from spikesim.kernels.delay_taps import folded, unfolded
from spikesim.kernels.print_cuda import STORAGE_TYPES, cuda_file

if TYPE_CHECKING:
    from spikesim.kernels.cupy_module import Module

_LATE = struct.Struct("=8Q10I")
"""``Late`` of ``delay.cuh``."""
_TAPS = 8
"""Of a synapse in a kernel, at most; a lane has them in registers."""
_LANES, _EVENTS = 32, 8
_LOT, _AHEAD = 4, 3
"""Rows of synapses that are copied together, and groups of events of each, in which most end."""
_SHARED = 48 << 10
"""Bytes of shared memory that a block may have."""
_ROWS = 32
"""Steps by which texts differ."""
_THREADS = 128
_WARPS, _SHARE, _SUMS = 16, 8, 20
"""Warps of a block that gathers; synapses of a lane, and bytes / 4 of their sums, at most."""
_BLOCKS = 528
"""Fill a device twice, two a multiprocessor."""


def forward(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> Tensor:
    """``y [T, B, O]``; see :func:`spikesim.kernels.delay.delayed_taps`."""
    plan = _plan(x, taps, start, delays)
    y = torch.empty(*x.shape[:2], taps.shape[-1], dtype=x.dtype, device=x.device)
    if y.numel():
        plan.launch("late_sums", plan.tiles * plan.windows * x.shape[1], _LANES, y)
    return y


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
    if not grad.numel() or not x.numel():
        return torch.zeros_like(x) if of_x else None, torch.zeros_like(taps) if of_taps else None
    dx = d_taps = None
    if of_x:
        values, first = _folded(taps, start, x.dtype)
        dx = input_gradient(grad, values, first, x.shape[-1], delays)
    if of_taps:
        plan = _plan(x, taps, start, delays)
        parts = -(-plan.taps.shape[1] // (_WARPS * _share(plan.taps))) * plan.tiles
        shares = min(x.shape[1], -(-_BLOCKS // parts))
        partial = plan.taps.new_empty(shares, *plan.taps.shape)
        plan.launch("tap_gradients", parts * shares, _WARPS * _LANES, grad, partial)
        d_taps = unfolded(partial.sum(0)[..., : taps.shape[-1]], taps).to(taps.dtype)
    return dx, d_taps


def _share(taps: Tensor) -> int:
    """Synapses of a lane whose sums fit its registers."""
    return max(1, min(_SHARE, 4 * _SUMS // (taps.shape[0] * taps.element_size())))


def _folded(taps: Tensor, start: Tensor, storage: torch.dtype) -> tuple[Tensor, Tensor]:
    return folded(taps.detach().to(real_dtype(storage)), start, min(taps.shape[0], _TAPS))


@dataclass
class _Plan:
    """The events of an input, synapses for the kernels, and how these divide the steps."""

    x: Tensor
    outputs: int
    capacity: int
    times: Tensor
    ranges: Tensor
    is_graded: Tensor
    taps: Tensor
    start: Tensor
    """Of outputs filled up to whole tiles."""
    delays: int
    rows: int
    windows: int
    is_clamped: bool

    @property
    def tiles(self) -> int:
        return self.taps.shape[-1] // _LANES

    def launch(
        self, name: str, blocks: int, threads: int, y: Tensor | None, partial: Tensor | None = None
    ) -> None:
        count, rows, width = self.taps.shape
        lists = self.x, self.times, self.ranges, self.is_graded
        arrays = (*lists, self.taps, self.start, y, partial)
        arguments = _LATE.pack(
            *(0 if array is None else array.data_ptr() for array in arrays),
            *self.x.shape,
            *(self.outputs, rows, width, self.capacity, self.delays, self.windows),
            1 if partial is None else partial.shape[0],
        )
        module = _module(self.x.dtype, count, self.rows, self.is_clamped, _share(self.taps))
        module.launch(name, self.x.device, blocks, threads, arguments)


def _plan(x: Tensor, taps: Tensor, start: Tensor, delays: int) -> _Plan:
    values, first = _folded(taps, start, x.dtype)
    steps, batch, inputs = x.shape
    size = values.shape[0]
    lots = 2 * _LOT * (16 * _AHEAD + _LANES * (4 + size * values.element_size()))
    held = (_SHARED - lots) // (_LANES * values.element_size())
    rows, windows, is_clamped = steps + delays + size, 1, False
    if rows > held:
        most = (held - 2 * size) // _ROWS * _ROWS
        windows, is_clamped = -(-steps // most), True
        rows = -(-steps // windows)
    rows = min(-(-rows // _ROWS) * _ROWS, held)
    outputs = values.shape[-1]
    if outputs % _LANES:
        values, first = (F.pad(array, (0, -outputs % _LANES)) for array in (values, first))
    # A group more, which is empty.
    capacity = (-(-steps // _EVENTS) + 1) * _EVENTS
    columns = batch * inputs
    plan = _Plan(
        x,
        outputs,
        capacity,
        # Some groups more, which are copied ahead.
        torch.empty(columns * capacity + _AHEAD * _EVENTS, dtype=torch.int16, device=x.device),
        torch.empty(windows, columns, dtype=torch.int32, device=x.device),
        torch.zeros(1, dtype=torch.int32, device=x.device),
        values,
        first,
        delays,
        rows,
        windows,
        is_clamped,
    )
    if x.numel():
        plan.launch("list_events", -(-columns // _THREADS), _THREADS, None)
    return plan


@cache
def _module(dtype: torch.dtype, taps: int, rows: int, is_clamped: bool, share: int) -> "Module":
    from spikesim.kernels.cupy_module import module

    return module(cuda_text(dtype, taps, rows, is_clamped, share))


def cuda_text(dtype: torch.dtype, taps: int, rows: int, is_clamped: bool, share: int) -> str:
    """The kernels for so many taps of a synapse, and steps in shared memory; see ``delay.cuh``."""
    real, storage, kind = STORAGE_TYPES[STORAGES[dtype]]
    defines = {
        "STORAGE": kind,
        "THREADS": _THREADS,
        "W": 1,
        "TAPS": taps,
        "ROWS": rows,
        "CLAMPED": int(is_clamped),
        "WARPS": _WARPS,
        "SHARE": share,
        "LOT": _LOT,
        "AHEAD": _AHEAD,
    }
    head = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    types = f"typedef {real} real;\ntypedef {storage} storage;\n"
    names = ("ptx", "device", "delay", "delay_sums", "delay_gradient")
    return head + types + "".join(cuda_file(f"{name}.cuh") for name in names)
