"""An energy report as CSV and as LaTeX."""

import csv as csv_module
import io
from dataclasses import asdict
from typing import TYPE_CHECKING

from spikesim.energy.table import is_shown, of_what
from spikesim.energy.units import joule, percent, si

if TYPE_CHECKING:
    from spikesim.energy.report import EnergyReport

_SERIES = ("spikes_per_step", "operations_per_step")
_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def csv(report: "EnergyReport") -> str:
    """A line for each layer, full precision; series over steps are left to JSON."""
    text = io.StringIO()
    rows = []
    for layer in report.layers:
        row = {name: value for name, value in asdict(layer.counts).items() if name not in _SERIES}
        row |= {f"{part}_bits": bits for part, bits in asdict(layer.traffic).items()}
        rows.append(row | {f"joules_{name}": energy for name, energy in layer.joules.items()})
    if rows:
        writer = csv_module.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def latex(report: "EnergyReport") -> str:
    r"""Layers, total and baselines between ``\toprule`` and ``\bottomrule``."""
    models = list(report.models)
    heads = ["layer", "rate", "dense", "MACs", "ACs", "bits moved", *models]
    lines = [
        f"% {of_what(report)}.",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        _row(heads),
        r"\midrule",
    ]
    for layer in report.layers:
        if not is_shown(layer):
            continue
        counts = (layer.macs, layer.effective_macs, layer.effective_acs, layer.traffic.total)
        energies = [joule(layer.joules[name]) for name in models]
        lines.append(_row([layer.name, percent(layer.rate), *map(si, counts), *energies]))
    totals = report.totals
    sums = (totals.macs, totals.effective_macs, totals.effective_acs, totals.traffic.total)
    energies = [joule(totals.joules[name]) for name in models]
    lines += [r"\midrule", _row(["total", "", *map(si, sums), *energies])]
    bounds = [" to ".join(map(joule, totals.interval[name])) for name in models]
    lines.append(_row([r"95 % interval", *[""] * 5, *bounds]))
    for name in next(iter(totals.ann_joules.values()), {}):
        spent = [joule(totals.ann_joules[model][name]) for model in models]
        lines.append(_row([name, "", si(totals.ann_macs), "", "", "", *spent]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escape(text: str) -> str:
    r"""Text with all that LaTeX would interpret written out.

    >>> escape("blocks.0.q_conv & 50%")
    'blocks.0.q\\_conv \\& 50\\%'
    """
    return "".join(_ESCAPED.get(character, character) for character in text)


def _row(cells: list[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
