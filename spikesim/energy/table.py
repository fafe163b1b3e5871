"""An energy report as text, from 80 columns on."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from spikesim.energy.baseline import Baseline
from spikesim.energy.charge import Charge
from spikesim.energy.units import joule, percent, several, si

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

    from spikesim.energy.report import EnergyReport, LayerEnergy

BESIDE = 2
"""Models that have a column of their own, where there is room; all have rows below."""

NAME, GAP = 15, 2
"""Columns of text that a name needs, and those between two columns of a table or around it."""


@dataclass(frozen=True)
class Rendered:
    """Layers; models with baselines; what decides; what was not counted."""

    report: "EnergyReport"

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[RenderableType]":
        from rich.text import Text

        report = self.report
        yield Text(of_what(report), "bold")
        yield _layers(report, options.max_width)
        for what, number in _free(report).items():
            yield Text(f"{number} x {what}", "dim")
        yield Text("")
        yield _models(report)
        yield from (Text(f"- {line}") for line in _words(report))
        yield from (Text(f"Note: {note}") for note in report.notes)
        if report.uncovered:
            yield Text(f"NOT COUNTED: {'; '.join(report.uncovered)}")


def of_what(report: "EnergyReport") -> str:
    """What all figures are of."""
    steps, samples = several(report.steps, "step"), several(report.samples, "sample")
    return f"Energy per sample of {steps}, mean of {samples}"


def is_shown(layer: "LayerEnergy") -> bool:
    """Whether a layer has more to tell than that it was free."""
    return bool(layer.macs or layer.updates or layer.traffic.total or any(layer.joules.values()))


def _free(report: "EnergyReport") -> Counter[str]:
    return Counter(f"{layer.kind}: {layer.note}" for layer in report.counts if layer.note)


def _layers(report: "EnergyReport", width: int) -> "Table":
    """A line for each layer, with as many models as there is room for."""
    named = list(report.models)[:BESIDE]
    headings = ["layer", "input", "rate", "dense", "MACs", "ACs", "bits moved", *named]
    rows = []
    for layer in filter(is_shown, report.layers):
        counts = (layer.macs, layer.effective_macs, layer.effective_acs, layer.traffic.total)
        energies = [joule(layer.joules[name]) if layer.joules[name] else "" for name in named]
        numbers = [si(number) if number else "" for number in counts]
        rows.append([layer.name, layer.values, percent(layer.rate), *numbers, *energies])
    totals = report.totals
    counts = (totals.macs, totals.effective_macs, totals.effective_acs, totals.traffic.total)
    total = ["total", "", "", *map(si, counts), *(joule(totals.joules[name]) for name in named)]
    table = _table(*headings[:2])
    for heading in headings[2 : _fitting([headings, *rows, total], width)]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    table.add_section()
    table.add_row(*total[: len(table.columns)])
    return table


def _fitting(rows: list[list[str]], width: int) -> int:
    """How many columns there is room for, if the first is folded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ends = accumulate([min(NAME, widths[0]), *widths[1:]], lambda end, more: end + GAP + more)
    return sum(end + GAP <= width for end in ends)


def _models(report: "EnergyReport") -> "Table":
    """For each model: the network with its interval, and the baselines."""
    table = _table("energy model")
    table.add_column("network", no_wrap=True)
    for heading in ("energy", "x SNN"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("95 % interval, or\nSNN wins below rate", justify="right")
    for name, charge in report.models.items():
        bounds = f"{joule(charge.interval.low)} to {joule(charge.interval.high)}"
        table.add_row(name, "SNN", joule(charge.joules.total), "", bounds)
        for one in charge.baselines:
            table.add_row("", one.name, joule(one.joules.total), _times(one), _where(one))
        table.add_section()
    return table


def _words(report: "EnergyReport") -> list[str]:
    """Sentences below the tables: verdict and deciding constant of each model."""
    said = []
    for name, charge in report.models.items():
        fair = charge.baselines[-1]
        verdict = "less" if fair.crossover.wins else "more"
        bits = several(fair.activation_bits, "bit")
        elsewhere = "" if fair.model.name == name else f", charged by {fair.model.name}"
        said.append(
            f"{name} ({charge.title}): {verdict} than an ANN of {bits}"
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
        table.add_column(heading, overflow="fold", min_width=NAME if n == 0 else None)
    return table
