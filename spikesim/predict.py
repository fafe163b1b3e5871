"""What a trained run says about one recording file.

A recording is cut as the training recordings were: into windows of ``data.cut_us``, or of all
steps where ``data.window_us`` or ``data.events_per_frame`` fixes one; otherwise it is one window.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.readout import readout

if TYPE_CHECKING:
    from spikesim.datasets import Events
    from spikesim.kernels.events import Packed
    from spikesim.train.run import Run

BATCH = 32
UNNAMED_SENSOR = (".bin", ".dat")
"""Formats whose files do not say how large their sensor is."""


@dataclass(frozen=True)
class Window:
    """A part of a recording and what the model says about it.

    Attributes:
        start_us: from the first event of the recording.
        duration_us: of the window.
        events: number of events in it.
        probabilities: of each class, ``[K]``.
    """

    start_us: int
    duration_us: int
    events: int
    probabilities: Tensor


@dataclass(frozen=True)
class Prediction:
    """What the model says about a recording: the mean over its windows.

    Attributes:
        file: path of the recording.
        classes: names in label order.
        windows: the parts that were looked at, in order; those with too few events are left out.
    """

    file: Path
    classes: tuple[str, ...]
    windows: tuple[Window, ...]

    @property
    def probabilities(self) -> Tensor:
        """Mean probability of each class, ``[K]``."""
        return torch.stack([window.probabilities for window in self.windows]).mean(0)

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities, best first."""
        values, labels = self.probabilities.topk(min(count, len(self.classes)))
        pairs = zip(labels.tolist(), values.tolist(), strict=True)
        return [(self.classes[label], value) for label, value in pairs]


class Predictor:
    """A trained run, ready to look at recordings.

    Args:
        run: a run with a checkpoint.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        cut_us: window to cut recordings into, us; by default that of the training.

    Raises:
        UserError: no checkpoint, or no such device.
    """

    def __init__(self, run: "Run", *, device: str = "auto", cut_us: int | None = None) -> None:
        from spikesim import datasets
        from spikesim.train.device import choose_device
        from spikesim.world import World

        if cut_us is not None and cut_us < 1:
            raise UserError(f"a window must last at least 1 us, got {cut_us}")
        data = run.config.data
        size = (data.size, data.size) if isinstance(data.size, int) else data.size
        self.device = choose_device(device, World())
        self.model = run.model().to(self.device)
        task = run.task
        self.classes = task.classes
        self.readout = run.config.train.readout
        known = datasets.info(data.name)
        self.binning = datasets.Binning(
            data.steps, data.binning, data.window_us, data.events_per_frame, size, data.values
        )
        self.cut_us = cut_us or data.cut_us or known.cut_us
        if self.cut_us is None and data.window_us is not None:
            self.cut_us = data.steps * data.window_us
        least = known.min_events if data.min_events is None else data.min_events
        self.min_events = max(least, 1)
        self.name = run.path.name
        width, height, self.polarities = known.sensor_size
        channels, rows, columns = task.frame_shape
        if not width:
            self.polarities = channels
            width, height = (0, 0) if size else (columns, rows)
        self.sensor = (width, height)

    def __call__(self, path: str | Path, *, sort: bool = False) -> Prediction:
        """Look at one file.

        Args:
            path: a recording in one of the formats of :mod:`spikesim.datasets.readers`.
            sort: put events in order of time where the file has them out of order.

        Raises:
            UserError: a file that cannot be read, or of another sensor than the run's.
        """
        from spikesim.datasets.pack import pack

        path = Path(path)
        events, sensor = self._read(path, sort)
        packed, _ = pack(events, sensor, str(path))
        weight = next(self.model.parameters())
        windows: list[Window] = []
        parts = [part for part in self._cut(packed) if len(part[0]) >= self.min_events]
        if not parts:
            raise UserError(
                f"{path}: no window has {self.min_events} events, the least in training; "
                "choose a longer window"
            )
        for i in range(0, len(parts), BATCH):
            some = parts[i : i + BATCH]
            start = np.array([part[1] for part in some], np.int64)
            span = np.array([part[2] for part in some], np.int64)
            x = self.binning.bin([part[0] for part in some], start, span, sensor)
            with torch.inference_mode():
                logits = self.model(x.to(self.device, weight.dtype)).float()
                rows = readout(logits, self.readout).softmax(1).cpu()
            windows += [
                Window(int(part[1]), int(part[2]), len(part[0]), row)
                for part, row in zip(some, rows, strict=True)
            ]
        return Prediction(path, self.classes, tuple(windows))

    def _read(self, path: Path, sort: bool) -> "tuple[Events, tuple[int, int, int]]":
        """Events of the file and the sensor ``(W, H, P)``, which must be that of the training."""
        from spikesim.datasets.readers import read_events

        given = None
        if any(self.sensor) and path.suffix.lower() in UNNAMED_SENSOR:
            given = (*self.sensor, self.polarities)
        events, (width, height, _) = read_events(path, sensor_size=given, sort=sort)
        if any(self.sensor) and (width, height) != self.sensor:
            raise UserError(
                f"{path}: recorded with {width}x{height} pixels, run {self.name} was trained on "
                f"{self.sensor[0]}x{self.sensor[1]}; use a run of the same sensor"
            )
        return events, (width, height, self.polarities)

    def _cut(self, packed: "Packed") -> "list[tuple[Packed, int, int]]":
        """Windows: ``(events, start, duration)``, times in us.

        As in training, what is left after the last whole window is not looked at, unless the
        recording is shorter than one.
        """
        times = (packed >> np.uint64(32)).astype(np.int64)
        end = int(times[-1])
        if self.binning.events_per_frame is not None:
            size = self.binning.steps * self.binning.events_per_frame
            edges = np.arange(0, max(len(packed), size) + 1, size)
            return [
                (packed[a:b], int(times[a]), int(times[min(b, len(times)) - 1] - times[a]))
                for a, b in pairwise(edges.tolist())
            ]
        if self.cut_us is None:
            return [(packed, 0, end)]
        borders = np.arange(0, max(end, self.cut_us) + 1, self.cut_us)
        edges = np.searchsorted(times, borders)
        return [
            (packed[a:b], int(start), self.cut_us)
            for (a, b), start in zip(pairwise(edges.tolist()), borders[:-1], strict=True)
        ]
