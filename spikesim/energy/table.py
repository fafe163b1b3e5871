"""An energy report as text of 100 columns."""

from collections import Counter
from typing import TYPE_CHECKING

from spikesim.energy.baseline import Baseline
from spikesim.energy.charge import Charge
from spikesim.energy.units import joule, percent, si

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from spikesim.energy.report import EnergyReport, LayerEnergy

BESIDE = 2
"""Models that have a column of their own; all have a line below."""


def render(report: "EnergyReport") -> "RenderableType":
    """Layers; models with baselines; what decides; what was not counted."""
    from rich.console import Group
    from rich.text import Text

    steps = f"{report.steps:.4g}"
    lines = [f"{number} x {what}" for what, number in _free(report).items()]
    return Group(
        Text(f"Energy per sample of {steps} steps, mean of {report.samples} samples", "bold"),
        _layers(report),
        *(Text(line, "dim") for line in lines),
        Text(""),
        _models(report),
        *(Text(f"- {line}") for line in _words(report)),
        *(Text(f"Note: {note}") for note in report.notes),
        *([Text(f"NOT COUNTED: {'; '.join(report.uncovered)}")] if report.uncovered else []),
    )


def is_shown(layer: "LayerEnergy") -> bool:
    """Whether a layer has more to tell than that it was free."""
    return bool(layer.macs or layer.updates or layer.traffic.total or any(layer.joules.values()))


def _free(report: "EnergyReport") -> Counter[str]:
    return Counter(f"{layer.kind}: {layer.note}" for layer in report.counts if layer.note)


def _layers(report: "EnergyReport") -> "Table":
    named = list(report.models)[:BESIDE]
    table = _table("layer", "input")
    for heading in ("rate", "dense", "MACs", "ACs", "bits moved", *named):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in report.layers:
        if not is_shown(layer):
            continue
        counts = [si(n) if n else "" for n in (layer.macs, layer.effective_macs)]
        counts += [si(n) if n else "" for n in (layer.effective_acs, layer.traffic.total)]
        energies = [joule(layer.joules[name]) if layer.joules[name] else "" for name in named]
        table.add_row(layer.name, layer.values, percent(layer.rate), *counts, *energies)
    totals = report.totals
    table.add_section()
    counts = [si(n) for n in (totals.macs, totals.effective_macs, totals.effective_acs)]
    energies = [joule(totals.joules[name]) for name in named]
    table.add_row("total", "", "", *counts, si(totals.traffic.total), *energies)
    return table


def _models(report: "EnergyReport") -> "Table":
    """A line for each model: the network, its interval, baselines."""
    table = _table("energy model")
    for heading in ("SNN", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    beside = next(iter(report.models.values())).baselines if report.models else ()
    for one in beside:
        table.add_column(f"{one.name}\n(x SNN)", justify="right", no_wrap=True)
    table.add_column("beats fp32\nbelow rate", justify="right", no_wrap=True)
    for name, charge in report.models.items():
        bounds = f"{joule(charge.interval.low)} to {joule(charge.interval.high)}"
        cells = [f"{joule(one.joules.total)}\n({_times(one)})" for one in charge.baselines]
        where = "\n".join(_where(one) for one in charge.baselines[:1])
        table.add_row(name, joule(charge.joules.total), bounds, *cells, where)
    return table


def _words(report: "EnergyReport") -> list[str]:
    """Sentences below the tables: verdict and deciding constant of each model."""
    said = []
    for name, charge in report.models.items():
        fair = charge.baselines[-1]
        verdict = "less" if fair.crossover.wins else "more"
        elsewhere = "" if fair.model.name == name else f", charged by {fair.model.name}"
        said.append(
            f"{name} ({charge.title}): {verdict} than an ANN of {fair.activation_bits} bits"
            f"{elsewhere} (limit: {_where(fair)}); {_decides(charge)}"
        )
    return said


def _decides(charge: Charge) -> str:
    bar = charge.deciding
    if bar is None:
        return "no constant has a range"
    constant = bar.constant
    return (
        f"most depends on {bar.name}, {constant.low:g} to {constant.high:g} {constant.unit}: "
        f"{joule(bar.low)} to {joule(bar.high)}"
    )


def _times(one: Baseline) -> str:
    return f"{1 / one.ratio:.3g}x" if one.ratio else "-"


def _where(one: Baseline) -> str:
    """The rate below which the spiking network needs less, with the present one."""
    where = one.crossover
    if where.factor is None or where.verdict != "below":
        return where.verdict
    if where.rate is None:
        return f"{where.factor:.3g} x now"
    return f"{100 * where.rate:.3g}%, now {100 * (where.present_rate or 0.0):.3g}%"


def _table(*first: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for n, heading in enumerate(first):
        table.add_column(heading, overflow="fold", min_width=16 if n == 0 else None)
    return table
