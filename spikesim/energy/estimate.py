"""Measure a model's operations on data."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikesim.attention import SDSA, SSA
from spikesim.delays import DelayedConv1d, DelayedConv2d, DelayedLinear, DelayedRecurrent
from spikesim.delays.layer import Delayed
from spikesim.energy.count import (
    CONVS,
    VALUES,
    Operations,
    Rule,
    count_layer,
    count_sdsa,
    count_ssa,
)
from spikesim.energy.delays import count_delayed, count_recurrent
from spikesim.energy.report import EnergyReport, LayerEnergy
from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.probe import evaluating, watch

RULES: tuple[tuple[tuple[type[nn.Module], ...], str, Rule], ...] = (
    ((nn.Linear,), "linear", count_layer),
    (CONVS, "conv", count_layer),
    ((DelayedLinear,), "linear", count_delayed),
    ((DelayedConv1d, DelayedConv2d), "conv", count_delayed),
    ((DelayedRecurrent,), "linear", count_recurrent),
    ((SSA,), "attention", count_ssa),
    ((SDSA,), "attention", count_sdsa),
)
"""Module types, their kind, and how one call is counted."""

UNCHARGED: tuple[tuple[tuple[type[nn.Module], ...], str, str], ...] = (
    (
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
        "norm",
        "folded into its neighbour at inference",
    ),
    (
        (
            *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
            *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        ),
        "pool",
        "comparisons, not charged",
    ),
    (
        (
            *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
            *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        ),
        "pool",
        "additions, not charged",
    ),
)
"""Module types that are listed without operations, and why."""

FREE = (
    *(nn.Identity, nn.Flatten, nn.Unflatten),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
"""Modules that do nothing at inference or only rearrange."""


@dataclass
class _Sums:
    """Running sums of one line of the table."""

    dense: float = 0.0
    effective: float = 0.0
    ann: float = 0.0
    nonzero: float = 0.0
    elements: float = 0.0
    values: int = 0

    def add(self, done: Operations, passes: int) -> None:
        self.dense += done.dense
        self.effective += done.effective
        self.ann += done.dense / passes
        self.nonzero += done.nonzero
        self.elements += done.elements
        self.values = max(self.values, done.values)


def estimate(
    model: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    *,
    e_mac_pj: float = 4.6,
    e_ac_pj: float = 0.9,
) -> EnergyReport:
    """Run ``model`` on ``batches`` in evaluation mode and count each layer's operations.

    Args:
        model: takes ``[T, B, ...]``; a layer that sees ``[T, B, ...]`` or ``[T * B, ...]`` runs
            ``T`` times as often as in the ANN, any other as often.
        batches: inputs ``[T, B, ...]``, or tuples that begin with one, such as a loader's.
        e_mac_pj: energy of one multiplication with accumulation, pJ.
        e_ac_pj: energy of one accumulation, pJ.

    Residual additions and whatever else a ``forward`` does outside of its modules cannot be seen
    and are not charged. Modules that are neither counted nor known are in ``uncovered``.

    Raises:
        UserError: no batch; a bare tensor; batches of different numbers of steps.

    >>> model = nn.Linear(3, 2, bias=False)
    >>> report = estimate(model, [torch.tensor([1.0, 0.0, 1.0]).expand(4, 1, 3)])
    >>> report.totals.macs, report.totals.effective_acs, report.totals.effective_macs
    (24.0, 16.0, 0.0)
    """
    if isinstance(batches, Tensor):
        raise UserError("batches must be a list or loader of [T, B, ...]; use estimate(model, [x])")
    sums: dict[str, dict[str, _Sums]] = {
        name: {} for name, module in model.named_modules() if _kind(module)
    }
    weight = next(model.parameters(), None)
    samples, steps = 0, 0

    def count(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        rule = next((rule for types, _, rule in RULES if isinstance(module, types)), None)
        if rule is not None:
            shape = inputs[0].shape
            repeated = shape[0] == T * B or shape[:2] == (T, B)
            # Layers with delays see whole sequences, and may make them longer.
            passes = shape[0] if isinstance(module, Delayed) else T if repeated else 1
            for done in rule(module, inputs, output):
                sums[name].setdefault(done.part, _Sums()).add(done, passes)
        elif isinstance(module, Neuron):
            fired = float(output.sum(dtype=torch.float64)) if module.spiking else 0.0
            done = Operations("", 0.0, 0.0, 0, fired, output.numel())
            sums[name].setdefault("", _Sums()).add(done, passes=1)
        else:
            sums[name].setdefault("", _Sums())

    with evaluating(model), watch(model, count, lambda module: bool(_kind(module))):
        for batch in batches:
            x = batch if isinstance(batch, Tensor) else batch[0]
            T, B = x.shape[:2]
            if steps not in (0, T):
                raise UserError(f"batches have {steps} and {T} steps; give one T in [T, B, ...]")
            samples, steps = samples + B, T
            model(x if weight is None else x.to(weight))  # its device and precision
    if not samples:
        raise UserError("no batch to measure energy on; give at least one [T, B, ...]")
    layers = [
        line
        for name, module in model.named_modules()
        if name in sums
        for line in _lines(name, module, sums[name], samples)
    ]
    uncovered = [
        f"{name or 'model'} ({type(module).__name__})"
        for name, module in model.named_modules()
        if name not in sums and _is_unknown(module)
    ]
    return EnergyReport(tuple(layers), samples, steps, e_mac_pj, e_ac_pj, tuple(uncovered))


def _kind(module: nn.Module) -> str:
    """The kind of a module that has a line, else nothing."""
    if isinstance(module, Neuron):
        return "neuron"
    return next((kind for types, kind, _ in (*RULES, *UNCHARGED) if isinstance(module, types)), "")


def _is_unknown(module: nn.Module) -> bool:
    holds = any(p is not None for p in module._parameters.values())
    # An empty chain, such as a shortcut that changes nothing, does nothing.
    is_leaf = next(module.children(), None) is None and not isinstance(module, nn.Sequential)
    return not isinstance(module, FREE) and (holds or is_leaf)


def _lines(
    name: str, module: nn.Module, parts: dict[str, _Sums], samples: int
) -> list[LayerEnergy]:
    kind = _kind(module)
    note = next((note for types, _, note in UNCHARGED if isinstance(module, types)), "")
    if not parts:
        return [LayerEnergy(name, kind, note="not used in this run")]
    lines = []
    for part, total in parts.items():
        binary = total.values == 0
        effective = total.effective / samples
        is_neuron = kind == "neuron"
        spiking = not is_neuron or module.spiking
        lines.append(
            LayerEnergy(
                name=f"{name} {part}".strip(),
                kind=kind,
                values="" if is_neuron or not total.elements else VALUES[total.values],
                macs=total.dense / samples,
                effective_macs=0.0 if binary else effective,
                effective_acs=effective if binary else 0.0,
                ann_macs=total.ann / samples,
                spikes=total.nonzero / samples,
                rate=total.nonzero / total.elements if total.elements and spiking else None,
                updates=total.elements / samples if is_neuron else 0.0,
                note=note,
            )
        )
    return lines
