"""Sums of what layers did: on the device while a model runs, as plain numbers at the end.

How often a layer ran is known when a batch is over. A call of it either holds all ``T`` steps, or
one of them if there were ``T`` calls (or a multiple), or belongs to no step.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import TypeAlias

import torch
from torch import Tensor

from spikesim.energy.cost import Cost
from spikesim.energy.fan_out import active
from spikesim.energy.layer import BINARY, INTEGER, REAL, LayerCounts
from spikesim.energy.steps import Steps
from spikesim.energy.tally import NONZERO, NOT_BINARY, NOT_WHOLE, SIZE, tally
from spikesim.energy.tally import WEIGHTED as MET
from spikesim.errors import UserError

Numbers: TypeAlias = defaultdict[str, float]


@dataclass
class Line:
    """Sums of one line of the table.

    Args:
        module: name of the module.
        cost: of a call, for what is the same in all of them.
        text: what of the module it is, if it has several lines.

    Attributes:
        total: sums of what is known without looking at values; ``given``: effective operations, by
            a user's rule.
        once: the same without the repetition over steps.
        sums: of values, step by step where steps are known.
        weights: that calls took, by their places; those made in the program, the last one.
    """

    module: str
    cost: Cost
    text: str
    total: Numbers = field(default_factory=lambda: defaultdict(float))
    once: Numbers = field(default_factory=lambda: defaultdict(float))
    sums: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[Hashable, Tensor] = field(default_factory=dict)
    _batch: Numbers = field(default_factory=lambda: defaultdict(float))
    _calls: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    _steps: list[Steps] = field(default_factory=list)

    def add(
        self, cost: Cost, steps: Steps, place: Hashable = None, *, each_call: bool, is_first: bool
    ) -> None:
        """One call.

        Args:
            cost: what it did.
            steps: how its steps lie.
            place: of its weight, where that is a part of a parameter.
            each_call: whether a call accumulates if all that entered it was -1, 0 or 1, whatever
                entered in other calls.
            is_first: whether what products give is looked at too; later, only what enters layers.
        """
        rows = [x for x in (cost.effective, cost.done) if isinstance(x, Tensor)]
        emitted = [] if cost.emitted is None else [cost.emitted]
        if not steps.fit(*cost.factors, *emitted):
            steps = Steps()
        elif not steps.fit(*rows):
            steps = Steps(scattered=steps.groups)
        self._steps.append(steps)
        # Arrays are not to be kept.
        self.cost = replace(
            cost, factors=(), fan_out=None, effective=None, done=None, output=None, emitted=None
        )
        if cost.weight is not None:
            self.weights[place] = cost.weight
        inputs = float(sum(x.numel() for x in cost.factors))
        left = [x.numel() for x in (cost.output, cost.emitted) if x is not None]
        numbers = {
            "macs": cost.macs,
            "additions": cost.additions,
            "multiplications": cost.multiplications,
            "functions": cost.functions,
            "inputs": inputs if cost.inputs is None else cost.inputs,
            "outputs": float(sum(left)),
        }
        if cost.fan_out is None and not rows:
            assert not isinstance(cost.effective, Tensor)
            numbers["given"] = cost.macs if cost.effective is None else cost.effective
        _add_up(self._batch, numbers)
        for name, found in _seen(cost, steps, each_call=each_call, is_first=is_first).items():
            self._calls[name].append(found)

    def close(self, steps: int) -> None:
        """The end of a batch of so many steps."""
        if not self._steps:
            return
        n = len(self._steps)
        in_pieces = all(call.is_part for call in self._steps)
        in_pieces = in_pieces and sum(call.groups for call in self._steps) == steps
        if not in_pieces:
            self._forget_parts()
        groups = {call.groups for call in self._steps}
        is_sure = all(call.is_sure for call in self._steps)
        is_once = any(call.is_once for call in self._steps)
        in_a_loop = n % steps == 0 and (groups == {1} or not is_sure) and not is_once
        repeated = not in_a_loop and len(groups) == 1 and groups != {1}
        length = max(groups) if repeated else steps if in_a_loop else self._steps[0].scattered
        length = steps if in_pieces else length
        for name, calls in self._calls.items():
            if in_pieces:
                now = torch.cat(calls)
            elif len(calls) == 1 and (repeated or groups == {1}):
                (now,) = calls
            elif repeated:
                now = torch.stack(calls).sum(0)
            elif in_a_loop:
                whole = calls if groups == {1} else [call.sum()[None] for call in calls]
                now = torch.cat(whole).view(steps, -1).sum(1)
            else:
                now = torch.cat(calls).sum()[None]
            self._take(name, now)
        _add_up(self.total, self._batch)
        _add_up(self.once, {name: number / length for name, number in self._batch.items()})
        self._steps = []
        self._batch.clear()
        self._calls.clear()

    def _forget_parts(self) -> None:
        """Calls whose first dimension is not a piece of time after all."""
        for i, call in enumerate(self._steps):
            if call.is_part:
                for calls in self._calls.values():
                    calls[i] = calls[i].sum()[None]
                self._steps[i] = Steps(batch=call.batch)

    def _take(self, name: str, more: Tensor) -> None:
        before = self.sums.get(name)
        if before is not None and len(before) != len(more):
            before, more = before.sum()[None], more.sum()[None]
        self.sums[name] = more if before is None else before + more

    def name(self, is_alone: bool) -> str:
        """Of the line."""
        part = self.cost.part or ("" if is_alone else self.text)
        name = f"{self.module}{'' if part.startswith('.') else ' '}{part}".strip(" .")
        return name or self.cost.kind

    def repeat(self, times: int, sums: dict[str, Tensor]) -> None:
        """The same batch so many times, with the sums of all of them."""
        for numbers in (self.total, self.once):
            for name in numbers:
                numbers[name] *= times
        self.sums = sums

    def merge(self, other: "Line") -> None:
        """Take over the sums of another line of the same module."""
        _add_up(self.total, other.total)
        _add_up(self.once, other.once)
        self.weights.update(other.weights)
        for name, found in other.sums.items():
            self._take(name, found)

    def counts(self, name: str, samples: int, steps: int, *, each_call: bool) -> LayerCounts:
        """Plain numbers, means over samples. It waits for the device.

        Raises:
            UserError: the layer gave values that are not finite.
        """
        sums = {key: found.tolist() for key, found in self.sums.items()}
        if not all(map(isfinite, sums.get("check", ()))):
            raise UserError(
                f"layer {name!r} gave values that are not finite (NaN or infinite); counts of them "
                "mean nothing: look at its weights and at what enters it"
            )
        cost, mean = self.cost, defaultdict[str, float](float)
        _add_up(mean, {key: number / samples for key, number in self.total.items()})
        totals = {key: float(sum(found)) for key, found in sums.items()}
        effective = totals.get("effective", 0.0) + self.total["given"]
        if not 0.0 <= effective < inf:
            raise UserError(f"the effective operations of {name!r} add up to {effective}, not >= 0")
        values = _values(totals) if "nonzero" in totals and self.total["inputs"] else ""
        accumulated = effective if values == BINARY else 0.0
        if each_call:
            accumulated = totals.get("accumulated", 0.0)
        is_neuron, emits = cost.kind == "neuron", "active" in totals
        spikes = "fired" if is_neuron else "nonzero"
        elements = mean["outputs" if is_neuron else "inputs"]
        emitted = _emitted(cost, totals) if is_neuron else ""
        weights = float(sum(weight.numel() for weight in self.weights.values()))
        nonzero = float(sum(int(active(weight).sum()) for weight in self.weights.values()))
        updates = mean["outputs"] if is_neuron else 0.0
        known = [key for key, number in self.once.items() if number]
        passes = self.total[known[0]] / self.once[known[0]] if known else 0.0

        def each_step(column: str) -> tuple[float, ...]:
            found = sums.get(column, ())
            is_known = len(found) == passes and (len(found) > 1 or steps == 1)
            return tuple(number / samples for number in found) if is_known else ()

        return LayerCounts(
            name=name,
            kind=cost.kind,
            values=values,
            macs=mean["macs"],
            effective_macs=(effective - accumulated) / samples,
            effective_acs=accumulated / samples,
            ann_macs=self.once["macs"] / samples,
            additions=mean["additions"],
            multiplications=mean["multiplications"],
            functions=mean["functions"],
            emitted=emitted,
            spikes=totals.get(spikes, 0.0) / samples,
            rate=totals[spikes] / samples / elements if spikes in totals and elements else None,
            inputs=elements,
            outputs=mean["outputs"],
            nonzero_outputs=totals["active"] / samples if emits else mean["outputs"],
            weights=weights,
            nonzero_weights=nonzero,
            biases=0.0 if cost.bias is None else float(cost.bias.numel()),
            weight_reads=effective / samples if weights else 0.0,
            updates=updates,
            state_reads=updates * cost.states,
            state_writes=updates * cost.states,
            passes=passes,
            spikes_per_step=each_step(spikes),
            operations_per_step=each_step("effective"),
            note=cost.note,
        )


def _add_up(into: Numbers, more: Mapping[str, float]) -> None:
    for name, number in more.items():
        into[name] += number


def _seen(cost: Cost, steps: Steps, *, each_call: bool, is_first: bool) -> dict[str, Tensor]:
    """Sums over the values of a call, one number for each of its steps."""
    seen: dict[str, Tensor] = {}
    for n, factor in enumerate(cost.factors):
        x = factor.abs() if each_call else factor
        fan_out = cost.fan_out if n == 0 and isinstance(cost.fan_out, Tensor) else None
        found = tally(
            steps.first(x, 1 if fan_out is None else fan_out.dim()), fan_out, steps.groups
        )
        if n == 0 and cost.fan_out is not None:
            seen["effective"] = found[:, MET]
        nonzero = found[:, NONZERO]
        seen["nonzero"] = nonzero + seen["nonzero"] if n else nonzero
        seen[f"not_binary{n}"] = found[:, NOT_BINARY]
        seen[f"not_whole{n}"] = found[:, NOT_WHOLE]
        if cost.output is not None:
            seen["check"] = found[:, SIZE] + seen["check"] if n else found[:, SIZE]
    if cost.done is not None:
        seen["effective"] = tally(steps.first(cost.done, 1), None, steps.groups)[:, NONZERO]
    if isinstance(cost.effective, Tensor):
        seen["effective"] = steps.by_group(cost.effective)
    if each_call and "effective" in seen:
        real = [seen[f"not_binary{n}"].sum() > 0 for n in range(len(cost.factors))]
        seen["accumulated"] = torch.where(torch.stack(real).all(), 0.0, seen["effective"])
    if cost.emitted is not None:
        found = tally(steps.first(cost.emitted, 1), None, steps.groups)
        seen["active"] = found[:, NONZERO]
        if cost.kind == "neuron" and cost.is_spiking:
            seen["fired"] = found[:, SIZE]
    if cost.output is not None and is_first:
        seen["check"] = cost.output.sum(dtype=torch.float32).expand(steps.groups)
    return seen


def _emitted(cost: Cost, totals: dict[str, float]) -> str:
    """What neurons gave: spikes of 1 are as many as they add up to."""
    if not cost.is_spiking:
        return REAL
    return BINARY if totals.get("fired") == totals.get("active") else INTEGER


def _values(totals: dict[str, float]) -> str:
    """What the factor is that is nearest to spikes: one binary factor is enough to accumulate."""
    factors = [n for n in (0, 1) if f"not_binary{n}" in totals]
    if any(not totals[f"not_binary{n}"] for n in factors):
        return BINARY
    return INTEGER if any(not totals[f"not_whole{n}"] for n in factors) else REAL
