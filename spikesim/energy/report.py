"""What an energy estimate found: counts, and joules under each model, as numbers and as text."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikesim.energy.charge import Charge
from spikesim.energy.layer import Counts, LayerCounts, Traffic, Widths
from spikesim.energy.model import EnergyModel

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class LayerEnergy:
    """One layer: every attribute of its :class:`~spikesim.energy.LayerCounts`, by its name, and

    Attributes:
        counts: what was counted.
        traffic: bits moved, by what.
        joules: model -> joule per sample.
        parts: model -> part -> joule per sample.
    """

    counts: LayerCounts
    traffic: Traffic
    joules: Mapping[str, float]
    parts: Mapping[str, Mapping[str, float]]

    def __getattr__(self, name: str) -> Any:
        """What was counted under this name."""
        if name == "counts":  # not yet there while this is copied
            raise AttributeError(name)
        return getattr(self.counts, name)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        energy = {"joules": dict(self.joules), "parts": {k: dict(v) for k, v in self.parts.items()}}
        return {**asdict(self.counts), "traffic_bits": _bits(self.traffic), **energy}


@dataclass(frozen=True)
class EnergyTotals:
    """Sums over the layers, per sample.

    Attributes:
        macs, effective_macs, effective_acs, ann_macs, spikes, updates: as of a layer; ``spikes``
            of neurons alone.
        traffic: bits moved, by what.
        joules: model -> joule.
        ann_joules: model -> baseline -> joule of the same architecture without time.
        ratio: model -> baseline -> how many times more the baseline needs; infinite for a network
            that needs nothing.
        interval: model -> bounds of the joules, from the ranges of the model's constants.
    """

    macs: float
    effective_macs: float
    effective_acs: float
    ann_macs: float
    spikes: float
    updates: float
    traffic: Traffic
    joules: Mapping[str, float]
    ann_joules: Mapping[str, Mapping[str, float]]
    ratio: Mapping[str, Mapping[str, float]]
    interval: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class EnergyReport:
    """Exact counts, and what they cost under stated models.

    Attributes:
        counts: means per sample.
        widths: bits at which the traffic is told.
        models: what each energy model says, in the order asked for.
    """

    counts: Counts
    widths: Widths
    models: Mapping[str, Charge]

    @classmethod
    def of(
        cls,
        counts: Counts,
        *,
        models: Iterable[str | EnergyModel] = ("classical",),
        widths: Widths | None = None,
        seed: int = 0,
    ) -> "EnergyReport":
        """Charge counts.

        Args:
            counts: of a model on data.
            models: names, see :func:`spikesim.energy.models.names`, or energy models.
            widths: bits of all that is moved and multiplied; ``None``: 32, but for models named
                here that have widths of their own.
            seed: of the draws behind the intervals.

        Raises:
            UserError: unknown model; the error lists what exists. Or two models of one name.
        """
        from spikesim.energy.models import several

        charges = {
            model.name: Charge.of(model, counts, seed=seed) for model in several(models, widths)
        }
        return cls(counts, widths or Widths(), charges)

    @property
    def layers(self) -> tuple[LayerEnergy, ...]:
        """Counts, traffic and joules of each layer."""
        return tuple(
            LayerEnergy(
                counts,
                counts.traffic(self.widths),
                {name: charge.joules.layers[n] for name, charge in self.models.items()},
                {name: charge.joules.layer_parts[n] for name, charge in self.models.items()},
            )
            for n, counts in enumerate(self.counts)
        )

    @property
    def totals(self) -> EnergyTotals:
        """Sums over the layers."""
        names = ("macs", "effective_macs", "effective_acs", "ann_macs", "updates")
        return EnergyTotals(
            **{name: self.counts.total(name) for name in names},
            spikes=sum(layer.spikes for layer in self.counts if layer.kind == "neuron"),
            traffic=self._traffic(),
            joules={name: charge.joules.total for name, charge in self.models.items()},
            ann_joules={
                name: {one.name: one.joules.total for one in charge.baselines}
                for name, charge in self.models.items()
            },
            ratio={
                name: {one.name: _times(one.ratio) for one in charge.baselines}
                for name, charge in self.models.items()
            },
            interval={
                name: (charge.interval.low, charge.interval.high)
                for name, charge in self.models.items()
            },
        )

    @property
    def samples(self) -> int:
        """Over how many the means are."""
        return self.counts.samples

    @property
    def steps(self) -> float:
        """Of a sample."""
        return self.counts.steps

    @property
    def rates(self) -> dict[str, float]:
        """Firing rate of each layer of neurons."""
        return {
            layer.name: layer.rate
            for layer in self.counts
            if layer.kind == "neuron" and layer.rate is not None
        }

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Operations and modules that are neither counted nor known to be free."""
        return self.counts.uncovered

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know of the counts."""
        return self.counts.notes

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; counts under NeuroBench's names, energies in joule."""
        counts = self.counts
        return {
            "Dense": counts.total("macs"),
            "Effective_MACs": counts.total("effective_macs"),
            "Effective_ACs": counts.total("effective_acs"),
            "ANN_MACs": counts.total("ann_macs"),
            "MembraneUpdates": counts.total("updates"),
            "ActivationSparsity": counts.activation_sparsity,
            "ConnectionSparsity": counts.connection_sparsity,
            "Footprint": counts.footprint,
            "ParameterCount": counts.parameters,
            "spikes": self.totals.spikes,
            "traffic_bits": _bits(self._traffic()),
            "widths": asdict(self.widths),
            "models": {name: charge.to_dict() for name, charge in self.models.items()},
            "samples": counts.samples,
            "steps": counts.steps,
            "rates": self.rates,
            "uncovered": list(counts.uncovered),
            "notes": list(counts.notes),
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def table(self) -> "RenderableType":
        """Layers, and below them models, baselines and what was not counted, for rich to print."""
        from spikesim.energy.table import Rendered

        return Rendered(self)

    def to_csv(self) -> str:
        """A line for each layer: counts, bits by what they are, joules by model."""
        from spikesim.energy.export import csv

        return csv(self)

    def to_latex(self) -> str:
        r"""A ``tabular`` for the package booktabs: layers, totals, baselines."""
        from spikesim.energy.export import latex

        return latex(self)

    def _traffic(self) -> Traffic:
        moved = [asdict(layer.traffic(self.widths)) for layer in self.counts]
        return Traffic(**{part: sum(one[part] for one in moved) for part in asdict(Traffic())})


def _bits(traffic: Traffic) -> dict[str, float]:
    return {**asdict(traffic), "total": traffic.total}


def _times(ratio: float) -> float:
    return 1.0 / ratio if ratio else float("inf")
