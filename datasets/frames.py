"""Frames of counts from packed events.

Shape legend: ``T`` steps, ``B`` samples, ``P`` polarities (off, on), ``H`` rows, ``W`` columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesim.datasets.pack import pack
from spikesim.datasets.source import Events
from spikesim.errors import UserError
from spikesim.kernels.events import Packed, Warps, bin_events

By = Literal["time", "count"]
Values = Literal["counts", "binary", "log1p"]


@dataclass(frozen=True)
class Binning:
    r"""How events become ``[T, P, H, W]`` frames.

    Args:
        steps: number of frames ``T``.
        by: ``"time"``: steps of equal duration, or ``"count"``: of equal number of events.
        window_us: duration of a step by time, us; ``T`` windows from the sample's beginning, later
            events are left out and missing ones stay empty. By default the sample is divided by
            ``T``, rounded down, and the last step takes what remains.
        events_per_frame: the same for steps by count.
        size: ``(H, W)`` of the frames; by default the sensor's. The pixel whose centre is at
            :math:`x + 1/2` goes to column :math:`\lfloor (x + 1/2) W_\mathrm{frame} /
            W_\mathrm{sensor} \rfloor`, rows alike: counts add up, none is lost.
        values: ``"counts"``, ``"binary"`` (1 where there are events) or ``"log1p"``.

    Raises:
        UserError: a value out of its range, or two that exclude each other.

    By default the slices are SpikingJelly's (Fang et al., 2023): ``split_by="time"`` and
    ``"number"``. They are those of Tonic's ``ToFrame(n_time_bins=T)`` and ``n_event_bins=T`` too,
    but for the last, where Tonic leaves out what remains after the division.
    """

    steps: int = 10
    by: By = "time"
    window_us: int | None = None
    events_per_frame: int | None = None
    size: tuple[int, int] | None = None
    values: Values = "counts"

    def __post_init__(self) -> None:
        if self.by not in ("time", "count"):
            raise UserError(f"binning must be 'time' or 'count', got {self.by!r}")
        if self.values not in ("counts", "binary", "log1p"):
            raise UserError(f"values must be 'counts', 'binary' or 'log1p', got {self.values!r}")
        for name in ("steps", "window_us", "events_per_frame"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if self.window_us is not None and self.by != "time":
            raise UserError("window_us goes with binning='time'; use events_per_frame for 'count'")
        if self.events_per_frame is not None and self.by != "count":
            raise UserError("events_per_frame goes with binning='count'; use window_us for 'time'")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise UserError(f"size must be (rows, columns), each at least 1, got {self.size}")

    def frame_shape(self, sensor_size: tuple[int, int, int]) -> tuple[int, int, int]:
        """``(P, H, W)`` of the frames."""
        width, height, polarities = sensor_size
        return (polarities, *(self.size or (height, width)))

    def bin(
        self,
        samples: Sequence[Packed],
        start: NDArray[np.int64],
        span: NDArray[np.int64],
        sensor_size: tuple[int, int, int],
        warps: Warps | None = None,
    ) -> Tensor:
        """Frames ``[T, B, P, H, W]`` float32 of packed samples; see ``bin_events``."""
        offsets = np.zeros(len(samples) + 1, np.int64)
        np.cumsum([len(events) for events in samples], out=offsets[1:])
        joined = np.concatenate([*samples, np.empty(0, np.uint64)])
        shape = (self.steps, len(samples), *self.frame_shape(sensor_size))
        out = torch.zeros(shape)
        bin_events(
            joined,
            offsets,
            start,
            span,
            out=out.numpy(),
            sensor=sensor_size[:2],
            by_time=self.by == "time",
            width=self.window_us or self.events_per_frame or 0,
            warps=warps,
        )
        if self.values == "binary":
            return out.clamp_(max=1.0)
        return out.log1p_() if self.values == "log1p" else out


def to_frames(events: Events, sensor_size: tuple[int, int, int], binning: Binning) -> Tensor:
    """Frames ``[T, P, H, W]`` of one recording's structured events.

    >>> events = np.array([(0, 0, 1, 1), (9, 1, 1, 0)], "i8, i2, i2, i1").view()
    >>> events.dtype.names = ("t", "x", "y", "p")
    >>> to_frames(events, (2, 2, 2), Binning(steps=2)).nonzero().tolist()
    [[0, 1, 1, 0], [1, 0, 1, 1]]
    """
    packed, _ = pack(events, sensor_size, "events")
    span = np.array([packed[-1] >> np.uint64(32) if len(packed) else 0], np.int64)
    return binning.bin([packed], np.zeros(1, np.int64), span, sensor_size)[:, 0]
