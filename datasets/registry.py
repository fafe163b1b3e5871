"""Datasets by name. A file ``sources/<name>.py`` with a class ``SOURCE`` is found by its name."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np

from spikesim.datasets import sources
from spikesim.datasets.augment import Augment
from spikesim.datasets.dataset import EventDataset, Representation, samples_of
from spikesim.datasets.frames import Binning, By, Values
from spikesim.datasets.series import SeriesDataset, SeriesSource
from spikesim.datasets.source import DatasetInfo, Events, Source, fold_numbers
from spikesim.datasets.store import open_store
from spikesim.errors import UserError, nearest

_registered: dict[str, type[Source]] = {}


def register(source: type[Source]) -> type[Source]:
    """Make a dataset of your own known by its ``info.name``; usable as a decorator."""
    _registered[source.info.name] = source
    return source


def names() -> tuple[str, ...]:
    """The known datasets."""
    found = {module.name for module in iter_modules(sources.__path__) if module.name[0] != "_"}
    return tuple(sorted(found | _registered.keys()))


def source_class(name: str) -> type[Source]:
    """The source of a dataset.

    Raises:
        UserError: no such dataset, with the nearest name.
    """
    if name in _registered:
        return _registered[name]
    if name not in names():
        raise UserError(f"no dataset {name!r}{nearest(name, names())}")
    found: type[Source] = import_module(f"spikesim.datasets.sources.{name}").SOURCE
    return found


def info(name: str) -> DatasetInfo:
    """What is known of a dataset: sensor, classes, splits, licence, citation, files."""
    return source_class(name).info


def load(
    name: str,
    split: str = "train",
    *,
    root: str | Path | None = None,
    steps: int | None = None,
    representation: Representation = "frames",
    binning: By = "time",
    window_us: int | None = None,
    events_per_frame: int | None = None,
    size: int | tuple[int, int] | None = None,
    values: Values = "counts",
    cut_us: int | None = None,
    min_events: int | None = None,
    fold: tuple[int, int] | None = None,
    held_out: Sequence[str] | None = None,
    augment: "Augment | dict[str, object] | str | None" = None,
    transform: Callable[[Events], Events] | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
) -> EventDataset:
    """A dataset of labelled event recordings, packed at its first use.

    Args:
        name: one of :func:`names`, or ``"folder"`` for class sub-folders of recordings.
        split: a part of ``info(name).splits``; with ``fold``, ``"train"`` or ``"test"``.
        root: folder or archive; by default ``$SPIKESIM_DATA/<name>``, or
            ``~/.cache/spikesim/data/<name>`` where that is not set. ``"nmnist"`` without a root is
            always the 1,000 + 100 recordings that come with the package.
        steps: number of frames ``T``; by default 10, or those of a dataset of series.
        representation: ``"frames"``, or ``"events"`` for structured arrays ``t x y p``.
        binning: steps of equal ``"time"`` or equal ``"count"`` of events; see :class:`Binning`.
        window_us: duration of a step by time, us; by default the sample divided by ``steps``.
        events_per_frame: the same for steps by count.
        size: ``(H, W)`` of the frames, or one number for both; by default the sensor's.
        values: ``"counts"``, ``"binary"`` or ``"log1p"``.
        cut_us: cut each recording into samples of this duration, us; the rest is left out. The
            default is the dataset's own: whole recordings for most.
        min_events: leave out samples of fewer events; the default is the dataset's own.
        fold: ``(k, n)``, ``k`` from 0: split ``k`` of ``n`` over the recordings of all splits;
            ``"test"`` is part ``k`` of a fixed stratified partition, ``"train"`` the others.
        held_out: names of groups (speakers, sessions): over the recordings of all splits,
            ``"test"`` is these groups, ``"train"`` the others.
        augment: an :class:`Augment`, its fields as a mapping, or a preset's name.
        transform: structured events to structured events, such as Tonic's transforms, before
            binning and augmentation.
        seed: of the augmentation.
        cache: where packed files lie; by default ``$SPIKESIM_CACHE`` or ``~/.cache/spikesim``.

    Raises:
        UserError: an unknown name or split, nothing at ``root``, or a recording that cannot be
            packed: truncated, outside the sensor, unsorted.
    """
    if representation not in ("frames", "events"):
        raise UserError(f"representation must be 'frames' or 'events', got {representation!r}")
    if cut_us is not None and cut_us < 1:
        raise UserError(f"cut_us must be at least 1 us, got {cut_us}")
    shape = (size, size) if isinstance(size, int) else size
    source = source_class(name)(None if root is None else Path(root))
    if steps is None:
        steps = source.steps if isinstance(source, SeriesSource) else Binning.steps
    frames = Binning(steps, binning, window_us, events_per_frame, shape, values)
    augment = Augment.of(augment)
    cut_us = source.info.cut_us if cut_us is None else cut_us
    min_events = source.info.min_events if min_events is None else min_events
    every_split = (*source.info.splits, *source.info.extra_splits)
    parted_anew = fold is not None or held_out is not None
    splits = ("train", "test") if parted_anew else every_split
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}{nearest(split, splits)}")
    if fold is not None and not 0 <= fold[0] < fold[1]:
        raise UserError(f"fold must be (k, n) with 0 <= k < n, got {tuple(fold)}")
    if fold is not None and held_out is not None:
        raise UserError("fold and held_out part the same recordings in two ways; give one of them")

    parts = [source.recordings(part) for part in (source.info.splits if parted_anew else (split,))]
    if not any(parts):
        raise UserError(f"{name}: no recordings of split {split!r} at {source.root}")
    if isinstance(source, SeriesSource):
        plain = (augment, fold, transform, cut_us) == (None, None, None, None) and not min_events
        if not plain or representation != "frames" or frames != Binning(source.steps):
            raise UserError(
                f"{name} holds series of {source.steps} frames, not events: give "
                f"steps={source.steps} and nothing about binning, cutting or augmentation"
            )
        series = SeriesDataset(source, split, [r for part in parts for r in part])
        return series if held_out is None else _of_groups(series, held_out)
    place = None if cache is None else Path(cache)
    stores = [open_store(source, recordings, cache=place) for recordings in parts]
    samples = samples_of(
        stores, [[r.label for r in part] for part in parts], cut_us=cut_us, min_events=min_events
    )
    if fold is not None:
        recordings = [
            (f"{part}/{r.key}", r.label)
            for part, group in zip(source.info.splits, parts, strict=True)
            for r in group
        ]
        numbers = fold_numbers([r[0] for r in recordings], [r[1] for r in recordings], fold[1])
        first = np.cumsum([0, *map(len, parts)])
        number = numbers[first[samples.store] + samples.row]
        samples = samples.take(np.flatnonzero((number == fold[0]) == (split == "test")))
    dataset = EventDataset(
        source.info,
        split,
        classes=source.classes,
        sensor_size=source.sensor_size,
        stores=stores,
        keys=[[r.key for r in part] for part in parts],
        groups=[[r.group for r in part] for part in parts],
        samples=samples,
        binning=frames,
        representation=representation,
        augment=augment,
        transform=transform,
        seed=seed,
    )
    return dataset if held_out is None else _of_groups(dataset, held_out)


def _of_groups(dataset: EventDataset, held_out: Sequence[str]) -> EventDataset:
    """The samples of the groups that are held out, for the split ``"test"``, or the others."""
    groups = dataset.groups
    known = sorted(set(groups) - {""})
    for name in held_out:
        if name not in known:
            raise UserError(f"{dataset.name} has no group {name!r}{nearest(name, known)}")
    if not 0 < len(set(held_out)) < len(set(groups)):
        raise UserError(f"held_out must leave a group on either side, got {list(held_out)}")
    is_test = dataset.split == "test"
    return dataset.subset([i for i, name in enumerate(groups) if (name in held_out) == is_test])
