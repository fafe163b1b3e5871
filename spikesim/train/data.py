"""The recordings of a run: splits, the order of an epoch, and who gets which part of a batch."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from spikesim.errors import UserError, nearest
from spikesim.seeds import generator
from spikesim.train.config import Config
from spikesim.world import World

if TYPE_CHECKING:
    from spikesim.datasets import EventDataset

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Frames ``[T, B, P, H, W]`` and labels ``[B]``."""


def load_split(config: Config, split: str) -> "EventDataset":
    """One split of the run's dataset, as it is."""
    return _load(config, split).without_augmentation()


def _load(config: Config, split: str) -> "EventDataset":
    from spikesim.datasets import load

    d = config.data
    return load(
        d.name,
        split=split,
        root=d.root,
        steps=d.steps,
        binning=d.binning,
        window_us=d.window_us,
        events_per_frame=d.events_per_frame,
        size=d.size,
        values=d.values,
        cut_us=d.cut_us,
        min_events=d.min_events,
        fold=d.fold,
        held_out=d.held_out,
        augment=dict(d.augment) if isinstance(d.augment, Mapping) else d.augment,
        seed=config.train.seed,
    )


def load_training(config: Config) -> "tuple[EventDataset, EventDataset | None]":
    """The training recordings, and those held out for validation (not augmented)."""
    whole, d = _load(config, "train"), config.data
    if d.validation_split is not None:
        return whole, load_split(config, d.validation_split)
    if d.validation_groups:
        rest, held = split_groups(whole.groups, d.validation_groups)
    elif d.validation > 0:
        rest, held = split_validation(whole.targets.tolist(), d.validation)
    else:
        return whole, None
    return whole.subset(rest), whole.subset(held).without_augmentation()


def split_validation(targets: Sequence[int], share: float) -> tuple[list[int], list[int]]:
    """Indices of the training and of the validation part, each class divided alike.

    The split depends on the targets alone, so that runs of several seeds can be compared.

    Raises:
        UserError: the share leaves one of the parts empty.
    """
    by_class: dict[int, list[int]] = defaultdict(list)
    for index in torch.randperm(len(targets), generator=generator("validation")).tolist():
        by_class[targets[index]].append(index)
    held = [i for members in by_class.values() for i in members[: round(share * len(members))]]
    if not 0 < len(held) < len(targets):
        raise UserError(
            f"data.validation={share} of {len(targets)} recordings leaves a part empty; "
            "choose another share, or 0 for no validation"
        )
    chosen = set(held)
    return [i for i in range(len(targets)) if i not in chosen], sorted(held)


def split_groups(groups: Sequence[str], held: Sequence[str]) -> tuple[list[int], list[int]]:
    """Indices of the recordings of the other groups, and of those held out.

    Raises:
        UserError: a group without recordings (the nearest is named), or nothing left to train on.
    """
    known = sorted(set(groups))
    for name in held:
        if name not in known:
            hint = nearest(name, known)
            raise UserError(f"data.validation_groups: no recordings of {name!r}{hint}")
    parts: tuple[list[int], list[int]] = ([], [])
    for index, name in enumerate(groups):
        parts[name in held].append(index)
    if not parts[0]:
        raise UserError("data.validation_groups are all groups; leave one to train on")
    return parts


def batches_of_epoch(count: int, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The order of an epoch in whole batches: a pure function of seed and epoch.

    What does not fill a batch is left out; another epoch draws another order.
    """
    order = torch.randperm(count, generator=generator(seed, "order", epoch)).tolist()
    whole = count // batch_size
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(whole)]


def check_batch_size(config: Config, count: int, world: World) -> None:
    """Refuse a batch that is larger than the data or that cannot be divided.

    Raises:
        UserError: with the numbers.
    """
    size, parts = config.data.batch_size, world.size * config.train.accumulate
    if size > count:
        raise UserError(
            f"data.batch_size={size} is more than the {count} training recordings; lower it"
        )
    if size % parts:
        raise UserError(
            f"data.batch_size={size} cannot be divided among {world.size} processes x "
            f"{config.train.accumulate} micro-batches; choose a multiple of {parts}"
        )


def micro_batches(
    batches: Sequence[Sequence[int]], accumulate: int, world: World
) -> list[list[int]]:
    """The parts of each batch that this process takes, ``accumulate`` for each, in order."""
    mine = []
    for batch in batches:
        size = len(batch) // (world.size * accumulate)
        first = world.rank * accumulate
        mine += [list(batch[i * size : (i + 1) * size]) for i in range(first, first + accumulate)]
    return mine


def read_batches(
    dataset: Any, batches: Sequence[Sequence[int]], *, workers: int, pin: bool
) -> Iterator[Batch]:
    """The given batches, in order; made by ``workers`` processes where that is above 0."""
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=_whole,
        num_workers=workers,
        pin_memory=pin,
        generator=torch.Generator(),
    )
    return iter(loader)


def _whole(batch: Any) -> Any:
    """The dataset makes whole batches by itself."""
    return batch
