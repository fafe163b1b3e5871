"""The page: self-contained, safe, true to its numbers, and whole when things are missing."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikesim.energy.units import joule
from spikesim.report import ReportData, write_page
from spikesim.report.clips import strip
from spikesim.report.page import render

SECTIONS = ("curves", "confusion", "clips", "rates", "raster", "traces", "energy")


def section(page: str, key: str) -> str:
    return page.split(f'<section id="{key}">')[1].split("</section>")[0]


def light(data: ReportData, **changed: object) -> ReportData:
    """Without the pictures that take time."""
    return replace(data, **{"metrics": (), "recording": None, **changed})


def texts(fragment: str) -> list[str]:
    """What a reader sees, piece by piece."""
    return [html.unescape(t).strip() for t in re.sub(r"<[^>]*>", "\n", fragment).split("\n") if t]


def test_page_is_self_contained(page: str) -> None:
    assert "http" not in page
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", page)
    assert not re.search(r"<(script|link|iframe|object|img)\b", page)
    addresses = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)', page)
    assert addresses
    assert all((a or b).startswith(("#", "data:image/png;base64,")) for a, b in addresses)


def test_strings_are_escaped(page: str) -> None:
    assert "<script>" not in page
    assert "<i>left</i>" not in page
    assert html.escape("<i>left</i>") in page


def test_every_section_is_filled_and_without_notes(page: str) -> None:
    for key in SECTIONS:
        assert 'class="note"' not in section(page, key), key
    for key, pictures in (("curves", 3), ("confusion", 1), ("raster", 2), ("traces", 2)):
        assert section(page, key).count('<svg role="img"') == pictures


def test_identifiers_are_unique(page: str) -> None:
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) > len(SECTIONS)
    assert len(set(names)) == len(names)


def test_the_same_data_give_the_same_page(data: ReportData, page: str) -> None:
    assert render(data) == page


def test_nothing_global_of_matplotlib_changes(data: ReportData) -> None:
    import matplotlib
    from matplotlib import _pylab_helpers

    before, shown = dict(matplotlib.rcParams), list(_pylab_helpers.Gcf.figs)
    render(data)
    assert dict(matplotlib.rcParams) == before
    assert list(_pylab_helpers.Gcf.figs) == shown


def test_numbers_are_those_of_the_result(data: ReportData, page: str) -> None:
    header = texts(page.split("<header>")[1].split("</header>")[0])
    for expected in ("85.7%", "95 % interval 65.4% to 95.0%; 18 of 21 right", "123,456", "7",
                     "1 min 15 s"):  # fmt: skip
        assert expected in header
    assert f"{joule(data.energy['models']['classical']['joules'])} (classical)" in header
    rows = [texts(row) for row in section(page, "rates").split("<tr>")[2:]]
    assert {name: rate for name, rate, *_ in rows} == {
        name: f"{rate:.2%}" for name, rate in data.result["firing_rates"].items()
    }


def test_energy_table_holds_every_counted_layer_and_the_totals(data: ReportData, page: str) -> None:
    energy = data.energy
    table = section(page, "energy").split('<table class="layers">')[1]
    rows = [texts(row) for row in table.split("<tr>")[2:]]
    counted = [layer for layer in energy["layers"] if layer["macs"]]
    assert [row[0] for row in rows] == [layer["name"] for layer in counted] + ["total"]
    for row, layer in zip(rows, counted, strict=False):
        assert row[-2:] == [joule(layer["joules"]["classical"]), joule(layer["joules"]["step"])]
    total = [joule(energy["models"][name]["joules"]) for name in ("classical", "step")]
    assert rows[-1][5:7] == total
    assert "norm: folded into its neighbour at inference." in rows[-1][-1]


def test_energy_models_stand_beside_their_baselines(data: ReportData, page: str) -> None:
    table, below = section(page, "energy").split('<table class="models">')[1].split("</table>", 1)
    rows = [texts(row) for row in table.split("<tr>")[2:]]
    for row, (name, charge) in zip(rows, data.energy["models"].items(), strict=True):
        assert row[0] == name
        assert f"{name}: {charge['title']}" in below
        assert row[1] == joule(charge["joules"])
        assert row[2] == " to ".join(map(joule, charge["interval"]))
        for cell, one in zip(row[3:], charge["baselines"].values(), strict=True):
            assert cell.startswith(f"{joule(one['joules'])} (")
    assert "(ann-int8 by integer, ann-bits by integer)" in below


def test_runs_on_the_same_data_are_one_picture(data: ReportData) -> None:
    one = {"accuracy": 0.8, "interval": (0.7, 0.9), "energy": data.energy}
    runs = ({**one, "name": "first"}, {**one, "name": "second", "accuracy": 0.75})
    assert "accuracy and energy of runs" not in section(render(light(data)), "energy")
    shown = section(render(light(data, beside=runs)), "energy")
    assert "accuracy and energy of runs" in shown
    assert "first" in shown
    assert "second" in shown


def test_energy_of_an_older_version_is_a_note(data: ReportData) -> None:
    shown = section(render(light(data, energy={"snn_uj": 1.0, "ann_uj": 2.0})), "energy")
    assert "older version" in shown


def test_a_wrong_answer_is_shown_as_wrong(page: str) -> None:
    shown = section(page, "clips")
    assert shown.count('class="clip right"') == shown.count('class="clip wrong"') == 1
    assert "<b>right</b> instead of <b>&lt;i&gt;left&lt;/i&gt;</b>" in shown


def test_strip_shows_every_event_in_its_colour() -> None:
    import base64
    import io

    from PIL import Image

    frames = np.zeros((3, 2, 4, 5), np.float32)
    frames[1, 0, 2, 3] = 1  # off
    frames[2, 1, 0, 0] = 9  # on
    picture = Image.open(io.BytesIO(base64.b64decode(strip(frames).split(",")[1])))
    assert picture.size == (15, 4)
    pixels = np.asarray(picture).astype(int)
    lit = {(int(y), int(x)) for y, x in np.argwhere((pixels != pixels[3, 0]).any(-1))}
    assert lit == {(2, 5 + 3), (0, 10)}
    red, _, blue = pixels[2, 8]
    assert red > blue
    red, _, blue = pixels[0, 10]
    assert blue > red


def test_a_cochlea_is_one_picture(data: ReportData) -> None:
    clip = replace(data.clips[0], frames=np.ones((20, 1, 1, 70), np.float32))
    assert 'style="--n:1;' in section(render(light(data, clips=[clip])), "clips")


@pytest.mark.parametrize("classes", [2, 20, 21, 101])
def test_confusion_of_few_and_many_classes(data: ReportData, classes: int) -> None:
    counts = np.diag(np.arange(1, classes + 1))
    names = [f"class number {i}" for i in range(classes)]
    page = render(light(data, confusion=counts, classes=names, clips=[]))
    assert "No errors" in section(page, "confusion")


def test_an_empty_run_gives_a_page_of_notes() -> None:
    page = render(ReportData(name="killed", notes={"result": "This run has not finished."}))
    assert "This run has not finished." in page
    for key in SECTIONS:
        assert 'class="note"' in section(page, key)


def test_half_a_run_shows_what_there_is(data: ReportData) -> None:
    metrics = [{"epoch": 1, "loss": None, "accuracy": 0.1, "lr": 1e-3}]  # the loss was NaN
    half = light(data, result={}, metrics=metrics, confusion=None, energy=None)
    page = render(half)
    assert "<dd>1 of 4</dd>" in page
    assert 'class="note"' in section(page, "energy")
    assert section(page, "curves").count("<svg") == 3


def test_dead_layers_and_published_selection_are_named(data: ReportData) -> None:
    result = {**data.result, "firing_rates": {"1": 0.0, "4": 0.5}, "selection": "as_published"}
    page = render(light(data, result=result))
    assert "Always silent or always firing: 1." in section(page, "rates")
    assert "selected on the test recordings" in page


def test_uncovered_modules_are_named(data: ReportData) -> None:
    page = render(light(data, energy={**data.energy, "uncovered": ["norm (LayerNorm)"]}))
    assert "Not counted: norm (LayerNorm)." in section(page, "energy")


def test_what_has_to_be_known_of_the_counts_is_told(data: ReportData) -> None:
    page = render(light(data, energy={**data.energy, "notes": ["no spiking neurons ran"]}))
    assert '<p class="note">no spiking neurons ran</p>' in section(page, "energy")


def test_page_replaces_an_old_one_in_one_step(data: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_page(light(data), path) == path
    assert path.read_text(encoding="utf-8") == render(light(data))
    assert list(tmp_path.iterdir()) == [path]
