"""What the energy count found: lines, totals, a table and plain numbers."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class LayerEnergy:
    """One line of the table; counts are means per sample, summed over its steps.

    Attributes:
        name: module name; a product inside attention has its formula behind it.
        kind: ``conv``, ``linear``, ``attention``, ``neuron``, ``norm``, ``pool``.
        values: what entered: ``binary`` (0 or 1), ``integer`` or ``real``.
        macs: all operations, zero or not (``Dense``).
        effective_macs: operations without a zero factor, where input is not binary.
        effective_acs: operations without a zero factor, where input is binary.
        ann_macs: all operations of one pass: ``macs`` without the repetition over steps.
        spikes: neurons: sum of outputs; other layers: non-zero inputs.
        rate: ``spikes`` per element and step; ``None`` if nothing was counted.
        updates: neuron updates; 0 for other layers.
        note: what the reader should know.
    """

    name: str
    kind: str
    values: str = ""
    macs: float = 0.0
    effective_macs: float = 0.0
    effective_acs: float = 0.0
    ann_macs: float = 0.0
    spikes: float = 0.0
    rate: float | None = None
    updates: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class EnergyTotals:
    """Sums over the layers, per sample. Energies in microjoule."""

    macs: float
    effective_macs: float
    effective_acs: float
    ann_macs: float
    snn_uj: float
    ann_uj: float

    @property
    def ratio(self) -> float:
        """How many times more the ANN needs than the SNN."""
        return self.ann_uj / self.snn_uj if self.snn_uj else float("inf")


@dataclass(frozen=True)
class EnergyReport:
    """Operations and energy per layer, means over ``samples`` samples of ``steps`` steps.

    ``uncovered`` names the modules that are neither counted nor known to be free.
    """

    layers: tuple[LayerEnergy, ...]
    samples: int
    steps: int
    e_mac_pj: float
    e_ac_pj: float
    uncovered: tuple[str, ...]

    def snn_uj(self, layer: LayerEnergy) -> float:
        """Energy of a layer on one sample, microjoule."""
        return 1e-6 * (self.e_mac_pj * layer.effective_macs + self.e_ac_pj * layer.effective_acs)

    def ann_uj(self, layer: LayerEnergy) -> float:
        """Energy of the same layer in one dense pass, microjoule."""
        return 1e-6 * self.e_mac_pj * layer.ann_macs

    @property
    def totals(self) -> EnergyTotals:
        """Sums over the layers."""
        return EnergyTotals(
            macs=sum(layer.macs for layer in self.layers),
            effective_macs=sum(layer.effective_macs for layer in self.layers),
            effective_acs=sum(layer.effective_acs for layer in self.layers),
            ann_macs=sum(layer.ann_macs for layer in self.layers),
            snn_uj=sum(self.snn_uj(layer) for layer in self.layers),
            ann_uj=sum(self.ann_uj(layer) for layer in self.layers),
        )

    @property
    def rates(self) -> dict[str, float]:
        """Firing rate of each layer of neurons."""
        return {
            layer.name: layer.rate
            for layer in self.layers
            if layer.kind == "neuron" and layer.rate is not None
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; operation totals under NeuroBench's names."""
        totals = self.totals
        return {
            "Dense": totals.macs,
            "Effective_MACs": totals.effective_macs,
            "Effective_ACs": totals.effective_acs,
            "ANN_MACs": totals.ann_macs,
            "snn_uj": totals.snn_uj,
            "ann_uj": totals.ann_uj,
            "ratio": totals.ratio if totals.snn_uj else None,
            "e_mac_pj": self.e_mac_pj,
            "e_ac_pj": self.e_ac_pj,
            "samples": self.samples,
            "steps": self.steps,
            "uncovered": list(self.uncovered),
            "layers": [
                asdict(layer) | {"snn_uj": self.snn_uj(layer), "ann_uj": self.ann_uj(layer)}
                for layer in self.layers
            ],
        }

    def table(self) -> "Table":
        """The counted layers and neurons as a rich table; the rest is summed up below it."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        uncounted = Counter(f"{layer.kind}: {layer.note}" for layer in self.layers if layer.note)
        caption = [f"MAC {self.e_mac_pj} pJ, AC {self.e_ac_pj} pJ (45 nm), memory not included"]
        caption += [f"{number} x {what}" for what, number in uncounted.items()]
        caption += [f"NOT COUNTED: {', '.join(self.uncovered)}"] if self.uncovered else []
        table = Table(
            title=f"Energy per sample of {self.steps} steps, mean of {self.samples} samples",
            caption="\n".join(caption),
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        table.add_column("layer", overflow="fold", min_width=16)
        table.add_column("input")
        for heading in ("rate", "dense", "MACs", "ACs", "SNN uJ", "ANN uJ"):
            table.add_column(heading, justify="right", no_wrap=True)
        for layer in self.layers:
            if not layer.note:
                table.add_row(layer.name, layer.values, _percent(layer.rate), *self._row(layer))
        totals = self.totals
        table.add_section()
        counts = (totals.macs, totals.effective_macs, totals.effective_acs)
        energies = (f"{totals.snn_uj:.4g}", f"{totals.ann_uj:.4g}")
        table.add_row("total", "", "", *map(si, counts), *energies)
        return table

    def _row(self, layer: LayerEnergy) -> tuple[str, ...]:
        if not layer.macs:
            return ()
        counts = (layer.macs, layer.effective_macs, layer.effective_acs)
        return *map(si, counts), f"{self.snn_uj(layer):.3g}", f"{self.ann_uj(layer):.3g}"


def si(number: float) -> str:
    """A count with three or four digits and a prefix.

    >>> si(0), si(999), si(12_345), si(6.5e9)
    ('0', '999', '12.35 k', '6.5 G')
    """
    for exponent, prefix in ((9, " G"), (6, " M"), (3, " k")):
        if abs(number) >= 10**exponent:
            return f"{number / 10**exponent:.4g}{prefix}"
    return f"{number:.4g}"


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"
