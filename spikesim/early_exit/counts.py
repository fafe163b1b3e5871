"""Exact counts of a run in which samples stop at steps of their own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spikesim.early_exit.carried import stepping
from spikesim.early_exit.confidence import Exits
from spikesim.energy.layer import BINARY, INTEGER, REAL, Counts, LayerCounts
from spikesim.errors import UserError

Counter: TypeAlias = Callable[[nn.Module, Iterable[Tensor]], Counts]

OF_LAYER = ("weights", "nonzero_weights", "biases")
PER_SAMPLE = tuple(
    f.name for f in fields(LayerCounts) if f.type is float and f.name not in OF_LAYER
)


def counts_until_exit(
    count: Counter, model: nn.Module, x: Tensor, exits: Exits, *, batch_size: int = 256
) -> Counts:
    """Counts per sample, of the steps that each sample ran.

    Samples that stopped together are counted together, over their steps alone; the result is the
    mean over all samples. A count of a step is thus that of the samples that ran it.

    Args:
        count: counts a model on batches ``[T, B, ...]``: ``spikesim.energy.count``.
        model: as in :meth:`DynamicConfidence.run
            <spikesim.early_exit.confidence.DynamicConfidence.run>`.
        x: the input that the samples were stopped in, ``[T, B, ...]``.
        exits: when.
        batch_size: samples at a time.

    Raises:
        UserError: exits of another input.
    """
    if x.shape[:2] != (exits.limit, len(exits.steps)):
        raise UserError(
            f"exits of {len(exits.steps)} samples in {exits.limit} steps belong to an input "
            f"[{exits.limit}, {len(exits.steps)}, ...], got {list(x.shape)}"
        )
    parts, samples = [], []
    for step in torch.unique(exits.steps).tolist():
        rows = (exits.steps == step).nonzero().squeeze(1)
        with stepping(model, step):
            parts.append(count(model, _batches(x[:step], rows, batch_size)))
        samples.append(len(rows))
    return mean_counts(parts, samples)


def _batches(x: Tensor, rows: Tensor, size: int) -> Iterator[Tensor]:
    for some in torch.split(rows, size):
        yield x.index_select(1, some)


def mean_counts(parts: Sequence[Counts], samples: Sequence[int]) -> Counts:
    """Counts per sample of several sets together; a layer that did not run in one counts 0 there.

    Args:
        parts: of each set.
        samples: how many it has.
    """
    total = sum(samples)
    lines: dict[str, list[tuple[LayerCounts, float]]] = {}
    for part, n in zip(parts, samples, strict=True):
        for layer in part:
            lines.setdefault(layer.name, []).append((layer, n / total))
    return replace(
        parts[0],
        layers=tuple(_mean(line) for line in lines.values()),
        samples=total,
        steps=sum(part.steps * n for part, n in zip(parts, samples, strict=True)) / total,
        uncovered=_union(part.uncovered for part in parts),
        notes=_union(part.notes for part in parts),
    )


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for texts in lists for text in texts))


def _mean(line: Sequence[tuple[LayerCounts, float]]) -> LayerCounts:
    """Of one layer, by the shares of the samples; its rate follows from its sums."""
    first = line[0][0]
    found: dict[str, Any] = {
        name: sum(getattr(layer, name) * share for layer, share in line) for name in PER_SAMPLE
    }
    for name in ("spikes_per_step", "operations_per_step"):
        found[name] = _per_step([(getattr(layer, name), share) for layer, share in line])
    elements = found["outputs" if first.kind == "neuron" else "inputs"]
    if any(layer.rate is None for layer, _ in line) or not elements:
        found["rate"] = None
    else:
        found["rate"] = found["spikes"] / elements
    kinds = {layer.values for layer, _ in line}
    if len(kinds) > 1:  # as if all samples had been counted at once
        found["values"] = max(kinds, key=("", BINARY, INTEGER, REAL).index)
        found["effective_macs"] += found["effective_acs"]
        found["effective_acs"] = 0.0
    return replace(first, **found)


def _per_step(rows: Sequence[tuple[tuple[float, ...], float]]) -> tuple[float, ...]:
    """Of each step; a sample that stopped earlier adds nothing to it."""
    if not all(row for row, _ in rows):
        return ()
    total = torch.zeros(max(len(row) for row, _ in rows), dtype=torch.float64)
    for row, share in rows:
        total[: len(row)] += torch.tensor(row, dtype=torch.float64) * share
    return tuple(total.tolist())
