"""The dataset a trainer sees: packed recordings, binned and augmented as they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from spikesim.datasets.augment import Augment
from spikesim.datasets.frames import Binning
from spikesim.datasets.pack import pack, unpack
from spikesim.datasets.source import DatasetInfo, Events
from spikesim.datasets.store import Store
from spikesim.errors import UserError
from spikesim.kernels.events import Packed, identity_warp, warp_events

Representation = Literal["frames", "events"]
Sample: TypeAlias = "tuple[Tensor | Events, int]"
Batch: TypeAlias = "tuple[Tensor, Tensor] | tuple[list[Events], Tensor]"


@dataclass(frozen=True)
class Samples:
    """Which events make up which sample; all arrays ``[n]``.

    ``store[i]`` and ``row[i]`` name a recording, ``low[i]:high[i]`` its events, ``start[i]`` and
    ``span[i]`` the time they cover (us after the recording's first event), ``identity[i]`` the
    number that the random draws of the sample are made from.
    """

    store: NDArray[np.int64]
    row: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    start: NDArray[np.int64]
    span: NDArray[np.int64]
    label: NDArray[np.int64]
    identity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, indices: NDArray[np.int64]) -> "Samples":
        """The named samples."""
        return Samples(*(getattr(self, name)[indices] for name in self.__dataclass_fields__))


class EventDataset(Dataset[Sample]):
    """Labelled event recordings as frames ``[T, P, H, W]`` or as events; see ``datasets.load``.

    ``d[i]`` is ``(frames, label)``. ``d.__getitems__(indices)``, which torch's ``DataLoader``
    calls by itself, makes a whole batch ``(x [T, B, P, H, W], y [B])`` in one call of a compiled
    loop; give the loader ``collate_fn=spikesim.datasets.collate``. A batch is a pure function of
    ``(seed, epoch, indices)``, unless a ``transform`` draws random numbers of its own.

    Attributes:
        name: of the dataset.
        split: the part, such as ``"train"``.
        info: what is known of the dataset.
        classes: class names in label order.
        sensor_size: ``(W, H, P)``.
        targets: the label of each sample, ``[n]`` int64.
        steps: number of frames ``T``.
        frame_shape: ``(P, H, W)``.
        keys: the name of the recording each sample is from.
        groups: who or what was recorded in each sample; empty where the source does not say.
    """

    def __init__(
        self,
        info: DatasetInfo,
        split: str,
        *,
        classes: tuple[str, ...],
        sensor_size: tuple[int, int, int],
        stores: Sequence[Store],
        keys: Sequence[Sequence[str]],
        groups: Sequence[Sequence[str]],
        samples: Samples,
        binning: Binning,
        representation: Representation = "frames",
        augment: Augment | None = None,
        transform: Callable[[Events], Events] | None = None,
        seed: int = 0,
    ) -> None:
        self.info = info
        self.name = info.name
        self.split = split
        self.classes = classes
        self.sensor_size = sensor_size
        self.binning = binning
        self.representation = representation
        self.augment = augment
        self.transform = transform
        self.seed = seed
        self._stores = tuple(stores)
        self._keys = tuple(keys)
        self._groups = tuple(groups)
        self._samples = samples
        # in shared memory, so that workers of a loader that outlive an epoch see the new one
        self._epoch = _shared(0)

    @property
    def targets(self) -> Tensor:
        """The label of each sample, ``[n]`` int64."""
        return torch.from_numpy(self._samples.label)

    @property
    def steps(self) -> int:
        """Number of frames ``T``."""
        return self.binning.steps

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """``(P, H, W)``."""
        return self.binning.frame_shape(self.sensor_size)

    @property
    def keys(self) -> list[str]:
        """The name of the recording each sample is from."""
        return self._named(self._keys)

    @property
    def groups(self) -> list[str]:
        """Who or what was recorded in each sample; empty where the source does not say."""
        return self._named(self._groups)

    def _named(self, names: Sequence[Sequence[str]]) -> list[str]:
        s = self._samples
        return [names[a][b] for a, b in zip(s.store, s.row, strict=True)]

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of events of each sample, before any transform or augmentation."""
        return self._samples.high - self._samples.low

    @property
    def epoch(self) -> int:
        """The epoch that augmentation is drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw augmentation for this epoch from now on, in loader workers too."""
        self._epoch.fill_(epoch)

    def subset(self, indices: Sequence[int] | Tensor | NDArray[np.int64]) -> "EventDataset":
        """A dataset of the named samples, which keep their random draws; nothing is copied."""
        return self._with(samples=self._samples.take(self._checked(indices)))

    def without_augmentation(self) -> "EventDataset":
        """The same samples as they are."""
        return self._with(augment=None)

    def __len__(self) -> int:
        return len(self._samples)

    def __repr__(self) -> str:
        p, h, w = self.frame_shape
        return (
            f"EventDataset({self.name!r}, {self.split!r}, {len(self)} samples, "
            f"{len(self.classes)} classes, [T={self.steps}, P={p}, H={h}, W={w}])"
        )

    def events(self, i: int) -> Events:
        """The events of sample ``i``, not augmented; ``t`` from the sample's beginning, us."""
        s = self._samples
        (i,) = self._checked([i])
        return unpack(self._packed(i), -int(s.start[i]))

    def __getitem__(self, i: int) -> Sample:
        x, y = self.__getitems__([i])
        return (x[:, 0] if isinstance(x, Tensor) else x[0]), int(y[0])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch: ``x [T, B, P, H, W]`` (or a list of events) and labels ``y [B]``."""
        rows = self._checked(indices)
        s = self._samples.take(rows)
        y = torch.from_numpy(s.label)
        packed, start, span = [self._packed(i) for i in rows], s.start, s.span
        if self.transform is not None:
            packed = [self._transformed(i) for i in rows]
            start = np.zeros_like(start)
        size = self.frame_shape[1:]
        if self.augment is None:
            warps = identity_warp()
        else:
            warps = self.augment.draw(self.seed, self.epoch, s.identity, size)
        if self.representation == "frames":
            return self.binning.bin(packed, start, span, self.sensor_size, warps), y
        each = warps if len(warps) == len(rows) else warps.repeat(len(rows))
        moved = []
        for events, t, duration, warp in zip(packed, start, span, each, strict=True):
            kept = warp_events(events, int(t), int(duration), warp, self.sensor_size[:2], size)
            moved.append(unpack(kept, -int(t)))
        return moved, y

    def _packed(self, i: int) -> Packed:
        s = self._samples
        packed: Packed = self._stores[s.store[i]].events(int(s.row[i]))[s.low[i] : s.high[i]]
        return packed

    def _transformed(self, i: int) -> Packed:
        assert self.transform is not None
        events = self.transform(self.events(i))
        name = f"{self._keys[self._samples.store[i]][self._samples.row[i]]} after transform"
        packed, origin = pack(events, self.sensor_size, name)
        if not 0 <= origin < 2**31:
            raise UserError(f"{name}: begins at {origin} us; a transform must keep times in place")
        moved: Packed = packed + (np.uint64(origin) << np.uint64(32))
        return moved

    def _checked(self, indices: Sequence[int] | Tensor | NDArray[np.int64]) -> NDArray[np.int64]:
        rows = np.asarray(indices, np.int64).reshape(-1)
        if len(rows) and not (-len(self) <= rows.min() and rows.max() < len(self)):
            # IndexError ends a for loop over the dataset
            raise IndexError(
                f"{self.name} {self.split} has {len(self)} samples, got {rows.tolist()}"
            )
        return rows % max(len(self), 1)

    def _with(self, **changed: Any) -> "EventDataset":
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._epoch = _shared(self.epoch)
        for name, value in changed.items():
            setattr(new, "_samples" if name == "samples" else name, value)
        return new


def _shared(value: int) -> Tensor:
    shared: Tensor = torch.tensor(value).share_memory_()  # type: ignore[no-untyped-call]
    return shared


def samples_of(
    stores: Sequence[Store],
    labels: Sequence[Sequence[int]],
    *,
    cut_us: int | None = None,
    min_events: int = 0,
) -> Samples:
    """One sample per recording, or one per window of ``cut_us`` us that lies wholly in it."""
    parts = []
    for number, (store, label) in enumerate(zip(stores, labels, strict=True)):
        for row in range(len(store)):
            count, span = int(store.counts[row]), int(store.span[row])
            if cut_us is None:
                parts.append((number, row, 0, count, 0, span, label[row]))
                continue
            times = store.events(row) >> np.uint64(32)
            borders = np.arange(0, span + 1, cut_us)
            edges = np.searchsorted(times, borders.astype(np.uint64))
            parts += [
                (number, row, int(edges[k]), int(edges[k + 1]), int(borders[k]), cut_us, label[row])
                for k in range(len(borders) - 1)
            ]
    table = np.array(parts, np.int64).reshape(-1, 7).T
    samples = Samples(*[*table, np.arange(table.shape[1])])
    return samples.take(np.flatnonzero(samples.high - samples.low >= min_events))


def collate(batch: Any) -> Any:
    """``collate_fn`` of a ``DataLoader`` over an :class:`EventDataset`.

    Batches made by ``__getitems__`` pass through; single samples are joined along the second axis,
    as ``[T, B, P, H, W]``, and events as a list.
    """
    if isinstance(batch, tuple):
        return batch
    x, y = zip(*batch, strict=True)
    labels = torch.tensor(y)
    return (torch.stack(x, dim=1) if isinstance(x[0], Tensor) else list(x)), labels
