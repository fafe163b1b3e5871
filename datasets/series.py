"""Datasets of recordings that are no events: series of frames, made as they are asked for."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from spikesim.datasets.dataset import Batch, EventDataset, Samples
from spikesim.datasets.frames import Binning
from spikesim.datasets.source import Events, Recording, Source
from spikesim.errors import UserError


class SeriesSource(Source):
    """A dataset whose recordings are series of ``steps`` frames; nothing of it is packed."""

    steps: ClassVar[int]

    @abstractmethod
    def series(self, recordings: Sequence[Recording]) -> Tensor:
        """The frames of some recordings, ``[T, B, P, H, W]`` float32."""

    def read(self, recording: Recording) -> Events:
        """There are none.

        Raises:
            UserError: always.
        """
        raise UserError(f"{self.info.name} holds series, no events; use representation='frames'")


class SeriesDataset(EventDataset):
    """Labelled series as frames ``[T, P, H, W]``; otherwise like an :class:`EventDataset`.

    Args:
        source: that reads them.
        split: the part.
        recordings: of the part.
    """

    def __init__(self, source: SeriesSource, split: str, recordings: Sequence[Recording]) -> None:
        self.source, self.recordings = source, tuple(recordings)
        labels = np.array([r.label for r in recordings], np.int64)
        zero, number = np.zeros_like(labels), np.arange(len(labels))
        super().__init__(
            source.info,
            split,
            classes=source.classes,
            sensor_size=source.sensor_size,
            stores=(),
            keys=[[r.key for r in recordings]],
            groups=[[r.group for r in recordings]],
            samples=Samples(zero, number, zero, zero, zero, zero, labels, number),
            binning=Binning(source.steps),
        )

    def events(self, i: int) -> Events:
        """There are none.

        Raises:
            UserError: always.
        """
        return self.source.read(self.recordings[i])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch: ``x [T, B, P, H, W]`` and labels ``y [B]``."""
        s = self._samples.take(self._checked(indices))
        return self.source.series([self.recordings[i] for i in s.row]), torch.from_numpy(s.label)
