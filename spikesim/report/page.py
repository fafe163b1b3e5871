"""One self-contained HTML page: no script, no font, no address outside of the file."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from spikesim.energy.units import joule
from spikesim.report import energy_section, pictures
from spikesim.report.clips import OFF, ON, film
from spikesim.report.data import ReportData
from spikesim.report.markup import note, plots, text


def render(data: ReportData) -> str:
    """The whole page as text."""
    sections = (
        ("Training", "curves", _curves),
        ("Confusion matrix", "confusion", _confusion),
        ("What it sees, what it says", "clips", _clips),
        ("Firing rates", "rates", _rates),
        ("Spikes", "raster", _raster),
        ("Membrane potentials", "traces", _traces),
        ("Energy", "energy", energy_section.section),
    )
    body = "".join(_section(data, *section) for section in sections)
    style = (files("spikesim.report") / "style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(data.name)} · spikesim</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body><main>{_header(data)}{body}{_settings(data)}</main></body>\n</html>\n"
    )


def _section(data: ReportData, title: str, key: str, content: Callable[[ReportData], str]) -> str:
    inside = content(data)
    if key in data.notes:
        inside += note(data.notes[key])
    if not inside:
        inside = note("This run has nothing to show here.")
    return f'<section id="{key}"><h2>{title}</h2>{inside}</section>'


def _header(data: ReportData) -> str:
    result = data.result
    settings = data.config.get("data", {}), data.config.get("model", {})
    what = f"{settings[1].get('name', 'a model')} on {settings[0].get('name', 'recordings')}"
    title = f'<h1>{text(data.name)}</h1><p class="sub">{text(what)}</p>'
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in _facts(data)
    )
    if "accuracy" in result:
        accuracy, (low, high) = result["accuracy"], result["interval"]
        shown = (
            f'<div class="accuracy"><span>test accuracy</span><b>{accuracy:.1%}</b>'
            f'<div class="interval"><i style="left:{low:.2%};right:{1 - high:.2%}"></i>'
            f'<em style="left:{accuracy:.2%}"></em></div>'
            f"<small>95 % interval {low:.1%} to {high:.1%}{_counted(result)}</small></div>"
        )
    else:
        shown = (
            '<div class="accuracy"><span>test accuracy</span><b>–</b><small>none yet</small></div>'
        )
    notes = note(data.notes["result"]) if "result" in data.notes else ""
    if result.get("selection") == "as_published":
        notes += note(
            "The epoch was selected on the test recordings, as in some papers: this figure is no "
            "estimate of the accuracy on new recordings."
        )
    head = f'<div class="head">{shown}<dl class="facts">{facts}</dl></div>'
    return f"<header>{title}{head}{notes}</header>"


def _counted(result: Mapping[str, Any]) -> str:
    return f"; {result['correct']} of {result['total']} right" if "total" in result else ""


def _facts(data: ReportData) -> list[tuple[str, str]]:
    result, settings = data.result, data.config.get("data", {})
    epochs = result.get("epochs", len(data.metrics))
    planned = data.config.get("train", {}).get("epochs")
    seconds = result.get("seconds", sum(row.get("seconds") or 0 for row in data.metrics))
    facts = [
        ("dataset", settings.get("name")),
        ("classes", len(data.classes) or None),
        ("steps T", settings.get("steps")),
        ("epochs", epochs if "epochs" in result else f"{epochs} of {planned or '?'}"),
        ("training time", _duration(seconds) if seconds else None),
        ("parameters", f"{result['parameters']:,}" if "parameters" in result else None),
        ("seed", result.get("seed", data.config.get("train", {}).get("seed"))),
    ]
    for name, charge in list((data.energy or {}).get("models", {}).items())[:1]:
        facts.append(("energy / recording", f"{joule(charge['joules'])} ({name})"))
    return [(name, str(value)) for name, value in facts if value is not None]


def _curves(data: ReportData) -> str:
    if not data.metrics:
        return ""
    return plots(pictures.curves(data.metrics))


def _confusion(data: ReportData) -> str:
    if data.confusion is None or not data.confusion.sum():
        return ""
    picture = pictures.confusion(data.confusion, data.classes)
    missed = data.confusion.copy()
    missed[range(len(missed)), range(len(missed))] = 0
    names = [text(name) for name in data.classes]
    worst = (-missed).flatten().argsort(kind="stable")[:3]
    pairs = [
        f"{names[i // len(missed)]} taken for {names[i % len(missed)]} ({missed.flat[i]})"
        for i in worst
        if missed.flat[i]
    ]
    most = f" Most frequent errors: {', '.join(pairs)}." if pairs else " No errors."
    return (
        '<p class="about">Test recordings by true class (rows) and answer (columns); shade is the '
        f"share of the row.{most}</p>{picture}"
    )


def _clips(data: ReportData) -> str:
    if not data.clips:
        return ""
    names = [str(name) for name in data.classes]
    films = "".join(film(clip, names) for clip in data.clips)
    colors = "".join(
        f'<i style="background:rgb{color}"></i>{name}' for color, name in ((ON, "on"), (OFF, "off"))
    )
    return (
        '<p class="about">Recordings as the network receives them, step by step, and the '
        "probability its readout gives to the leading classes after each step (the moving line is "
        f'the step shown; point at a film to stop it).<span class="legend">{colors}</span></p>'
        f'<div class="clips">{films}</div>'
    )


def _rates(data: ReportData) -> str:
    rates: Mapping[str, float] = data.result.get("firing_rates") or (
        data.recording.rates if data.recording else {}
    )
    if not rates:
        return ""
    top = max(*rates.values(), 1e-9)
    layers = data.recording.layers if data.recording else {}
    rows = "".join(
        f"<tr><td>{text(name)}</td><td>{rate:.2%}</td>"
        f'<td class="wide"><span class="bar" style="width:{rate / top:.1%}"></span></td>'
        f"<td>{_spark(layers[name].rate_per_step.tolist()) if name in layers else ''}</td></tr>"
        for name, rate in rates.items()
    )
    extreme = [name for name, rate in rates.items() if rate in (0.0, 1.0)]
    warn = note(f"Always silent or always firing: {', '.join(extreme)}.") if extreme else ""
    return (
        '<p class="about">Share of neurons that fire in a step, by layer; on the right its course '
        f"over the steps of one recording, from 0 to its maximum.</p>{warn}"
        '<div class="scroll"><table><thead><tr><th>layer</th><th>rate</th><th></th>'
        f"<th>over steps</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _raster(data: ReportData) -> str:
    if not data.recording or not data.recording.layers:
        return ""
    return (
        '<p class="about">One recording; randomly drawn neurons, one row each, of some layers from '
        f"input to output.</p>{plots(pictures.raster(data.recording))}"
    )


def _traces(data: ReportData) -> str:
    if not data.recording or not any(layer.traces for layer in data.recording.layers.values()):
        return ""
    return (
        '<p class="about">The state after each step (after its reset) of neurons that fire about '
        "every other step; ticks above are their spikes, the dashed line is the threshold.</p>"
        f"{plots(pictures.traces(data.recording), 'wide')}"
    )


def _settings(data: ReportData) -> str:
    import yaml

    if not data.config:
        return ""
    written = yaml.safe_dump(dict(data.config), sort_keys=False)
    inside = f"<summary>settings</summary><pre>{text(written)}</pre>"
    return f"<section><details>{inside}</details></section>"


def _spark(values: list[float]) -> str:
    top = max(max(values), 1e-12)
    points = " ".join(
        f"{100 * i / max(len(values) - 1, 1):.1f},{19 - 17 * value / top:.1f}"
        for i, value in enumerate(values)
    )
    return (
        '<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}"/></svg>'
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
