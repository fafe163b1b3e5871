"""The section of a page on energy: what was counted, what it costs by which assumptions."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from spikesim.energy.units import joule, si
from spikesim.report import energy_pictures
from spikesim.report.data import ReportData
from spikesim.report.markup import note, plots, text

DRAWN = 2
"""Models of which pictures are drawn; all are in the table."""


def section(data: ReportData) -> str:
    """HTML; empty without an estimate."""
    energy = data.energy
    if not energy:
        return ""
    if "models" not in energy:
        return note("The estimate was written by an older version; run spikesim energy on this run")
    about = (
        f'<p class="about">Means per recording over {energy["samples"]} recordings of '
        f"{energy['steps']:.4g} steps. A layer whose input is only 0 and 1 accumulates (AC), "
        "others multiply and accumulate (MAC); operations on a zero are skipped. Operations "
        "are counted exactly; joules depend on the energy model, and each says something else. "
        "Beside them: the same architecture without time, every layer once, with numbers "
        "of 32 bits (fp32), 8 bits, and as many bits as the steps tell apart. An interval "
        "has 95 % of what the published ranges of the model's constants allow; what a model "
        "leaves out is in none.</p>"
    )
    uncovered = energy.get("uncovered")
    warn = note(f"Not counted: {', '.join(uncovered)}.") if uncovered else ""
    warn += "".join(map(note, energy.get("notes", ())))
    drawn = [*energy_pictures.of_energy(_first(energy))]
    first = next(iter(energy["models"]), None)
    beside = [run for run in data.beside if first in run["energy"].get("models", ())]
    if first is not None and len(beside) > 1:
        drawn.append(energy_pictures.of_runs(beside, first))
    shown = plots(energy_pictures.svgs(drawn), "wide")
    return f"{about}{_models(energy)}{warn}{shown}{_layers(energy)}"


def _first(energy: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**energy, "models": dict(list(energy["models"].items())[:DRAWN])}


def _models(energy: Mapping[str, Any]) -> str:
    """A row for each model: the network, its interval, baselines."""
    models = energy["models"]
    names = [name for charge in list(models.values())[:1] for name in charge["baselines"]]
    rows = ""
    for name, charge in models.items():
        low, high = charge["interval"]
        beside = "".join(
            f"<td>{joule(one['joules'])}{_times(one['ratio'])}</td>"
            for one in charge["baselines"].values()
        )
        rows += (
            f"<tr><td>{text(name)}</td>"
            f"<td><b>{joule(charge['joules'])}</b></td><td>{joule(low)} to {joule(high)}</td>"
            f"{beside}</tr>"
        )
    heads = "".join(f"<th>{text(name)}</th>" for name in names)
    titles = "; ".join(text(_title(name, charge)) for name, charge in models.items())
    return (
        '<div class="scroll"><table class="models"><thead><tr><th>energy model</th><th>spiking</th>'
        f"<th>95 % interval</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="about">{titles}.</p>'
    )


def _title(name: str, charge: Mapping[str, Any]) -> str:
    """What a model is, and what charged the baselines that it cannot."""
    others = {beside: one["model"] for beside, one in charge["baselines"].items()}
    elsewhere = [f"{beside} by {model}" for beside, model in others.items() if model != name]
    return f"{name}: {charge['title']}" + (f" ({', '.join(elsewhere)})" if elsewhere else "")


def _times(ratio: float | None) -> str:
    """How many times what the spiking network needs."""
    return f" ({1 / ratio:.3g}×)" if ratio else ""


def _layers(energy: Mapping[str, Any]) -> str:
    layers = energy.get("layers", ())
    models = list(energy["models"])[:DRAWN]
    counted = [layer for layer in layers if layer["macs"]]
    if not counted:
        return ""
    rows = "".join(
        f"<tr><td>{text(layer['name'])}</td><td>{layer['values']}</td>"
        f"<td>{layer['rate'] or 0:.1%}</td><td>{si(layer['macs'])}</td>"
        f"<td>{si(layer['effective_macs'])}</td><td>{si(layer['effective_acs'])}</td>"
        f"<td>{si(layer['traffic_bits']['total'])}</td>"
        + "".join(f"<td>{joule(layer['joules'][name])}</td>" for name in models)
        + "</tr>"
        for layer in counted
    )
    heads = "".join(f"<th>{text(name)}</th>" for name in models)
    sums = "".join(f"<td>{joule(energy['models'][name]['joules'])}</td>" for name in models)
    others = Counter(f"{one['kind']}: {one['note']}" for one in layers if one["note"])
    free = "; ".join(f"{number} × {text(what)}" for what, number in others.items())
    return (
        '<div class="scroll"><table class="layers"><thead><tr><th>layer</th><th>input</th>'
        "<th>non-zero</th><th>all ops</th><th>MACs</th><th>ACs</th><th>bits moved</th>"
        f"{heads}</tr></thead><tbody>{rows}</tbody><tfoot><tr><td>total</td><td></td><td></td>"
        f"<td>{si(energy['Dense'])}</td><td>{si(energy['Effective_MACs'])}</td>"
        f"<td>{si(energy['Effective_ACs'])}</td><td>{si(energy['traffic_bits']['total'])}</td>"
        f"{sums}</tr></tfoot></table></div>"
        '<p class="about">The total also holds neurons and what has no products.'
        + (f" {free}." if free else "")
        + "</p>"
    )
