"""What one energy model says of counts: joules, their range, and networks without time beside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikesim.energy.baseline import Baseline, baselines
from spikesim.energy.layer import Counts
from spikesim.energy.model import EnergyModel, Joules, joules
from spikesim.energy.uncertainty import (
    Bar,
    Interval,
    evaluate,
    form,
    interval,
    ratio,
    sensitivity,
)


@dataclass(frozen=True)
class Charge:
    """One energy model's part of a report.

    Attributes:
        title: of the model.
        joules: of each layer and of each part.
        interval: of the total, from the ranges of the constants.
        sensitivity: what each constant decides, the widest first.
        baselines: the same architecture without time.
        ratios: baseline -> the network's energy to the baseline's, with its range.
    """

    title: str
    joules: Joules
    interval: Interval
    sensitivity: tuple[Bar, ...]
    baselines: tuple[Baseline, ...]
    ratios: Mapping[str, Interval]

    @classmethod
    def of(cls, model: EnergyModel, counts: Counts, *, seed: int = 0) -> "Charge":
        """Charge counts by a model."""
        spent, total = form(model, counts), joules(model, counts)
        beside = baselines(model, counts)
        forms = {one.name: form(one.model, one.counts) for one in beside}
        return cls(
            title=model.title,
            joules=total,
            interval=interval(spent, value=total.total, seed=seed),
            sensitivity=sensitivity(spent),
            baselines=beside,
            ratios={
                name: ratio(spent, other, seed=seed)
                for name, other in forms.items()
                if evaluate(other)
            },
        )

    @property
    def deciding(self) -> Bar | None:
        """The constant whose range moves the total most; ``None`` if all are certain."""
        first = next(iter(self.sensitivity), None)
        return first if first is not None and first.high > first.low else None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, joule; those of layers apart."""
        return {
            "title": self.title,
            "joules": self.joules.total,
            "interval": [self.interval.low, self.interval.high],
            "level": self.interval.level,
            "parts": dict(self.joules.parts),
            "baselines": {one.name: self._baseline(one) for one in self.baselines},
            "sensitivity": [
                {
                    "constant": bar.name,
                    "value": bar.constant.value,
                    "unit": bar.constant.unit,
                    "range": [bar.constant.low, bar.constant.high],
                    "joules": [bar.low, bar.high],
                    "source": bar.constant.source,
                }
                for bar in self.sensitivity
            ],
        }

    def _baseline(self, one: Baseline) -> dict[str, Any]:
        where, beside = one.crossover, self.ratios.get(one.name)
        return {
            "model": one.model.name,
            "weight_bits": one.weight_bits,
            "activation_bits": one.activation_bits,
            "joules": one.joules.total,
            "ratio": None if beside is None else beside.value,
            "ratio_interval": None if beside is None else [beside.low, beside.high],
            "spiking_wins": where.wins,
            "crossover": {
                "verdict": where.verdict,
                "factor": where.factor,
                "rate": where.rate,
                "present_rate": where.present_rate,
                "fixed": where.fixed,
                "scaled": where.scaled,
            },
        }
