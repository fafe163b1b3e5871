"""The report of counts made by hand: every number of its outputs is known."""

import copy
import csv
import io
import json
import pickle

import pytest
from rich.console import Console

from spikesim.energy import Counts, EnergyReport, LayerCounts, Widths
from spikesim.energy.models import names
from spikesim.energy.units import joule

LAYERS = (
    LayerCounts(
        name="first_conv", kind="conv", values="real", macs=4000, effective_macs=2000,
        ann_macs=1000, spikes=50, rate=0.5, inputs=100, outputs=400, nonzero_outputs=400,
        weights=20, nonzero_weights=15, weight_reads=2000, passes=4,
    ),
    LayerCounts(
        name="first_neuron", kind="neuron", spikes=40, rate=0.1, inputs=400, outputs=400,
        nonzero_outputs=40, updates=400, state_reads=400, state_writes=400, passes=4,
    ),
    LayerCounts(
        name="head & 50%", kind="linear", values="binary", macs=8000, effective_acs=800,
        ann_macs=2000, spikes=40, rate=0.1, inputs=400, outputs=80, nonzero_outputs=80,
        weights=2000, nonzero_weights=2000, weight_reads=800, passes=4,
    ),
    LayerCounts(name="first_norm", kind="norm", note="folded into its neighbour at inference"),
)  # fmt: skip


def counts(**changed: object) -> Counts:
    given = {"samples": 3, "steps": 4, "parameters": 2020, "footprint": 8080, **changed}
    return Counts(LAYERS, **given)


def report(*models: str, **changed: object) -> EnergyReport:
    return EnergyReport.of(counts(**changed), models=models or ("classical",))


def shown(of: EnergyReport, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(of.table())
    return console.export_text()


def test_nothing_is_cut_in_80_columns() -> None:
    models = ("classical", "step", "lemaire", "loihi", "spinnaker2")
    found, text = report(*models), shown(report(*models), 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    rows = text.split("SNN wins below rate")[1]
    for name, charge in found.models.items():
        assert name in rows
        for joules in (charge.joules, *(one.joules for one in charge.baselines)):
            assert joule(joules.total) in rows
    assert "step" in shown(found).split("total")[0]  # with a column, where there is room


def test_layers_have_every_count_traffic_and_joules() -> None:
    conv, neuron, head, _ = report("classical", "step").layers
    assert (conv.name, conv.kind, conv.effective_macs, head.effective_acs) == (
        "first_conv", "conv", 2000, 800,
    )  # fmt: skip
    assert conv.joules["classical"] == pytest.approx(2000 * 4.6e-12)
    assert head.joules["classical"] == pytest.approx(800 * 0.9e-12)
    assert neuron.joules["classical"] == 0
    # Spikes are read as single bits, real values as 32.
    assert (head.traffic.input_reads, conv.traffic.input_reads) == (40, 1600)
    for layer in (conv, neuron, head):
        assert sum(layer.parts["step"].values()) == pytest.approx(layer.joules["step"])
    with pytest.raises(AttributeError, match="no_such"):
        _ = conv.no_such
    assert copy.deepcopy(conv) == conv
    assert pickle.loads(pickle.dumps(conv)) == conv


def test_totals_are_sums() -> None:
    found = report("classical")
    totals = found.totals
    spent = 2000 * 4.6e-12 + 800 * 0.9e-12
    assert (totals.macs, totals.ann_macs, totals.updates) == (12000, 3000, 400)
    assert totals.spikes == 40
    assert totals.joules["classical"] == pytest.approx(spent)
    assert totals.ann_joules["classical"]["ann-fp32"] == pytest.approx(3000 * 4.6e-12)
    assert totals.ratio["classical"]["ann-fp32"] == pytest.approx(3000 * 4.6e-12 / spent)
    low, high = totals.interval["classical"]
    assert low < spent <= high
    assert totals.traffic.total == sum(layer.traffic.total for layer in found.layers)
    assert found.rates == {"first_neuron": 0.1}


def test_dictionary_is_json_with_neurobench_names() -> None:
    found = json.loads(json.dumps(report("classical", "step").to_dict(), allow_nan=False))
    assert found["Dense"] == 12000
    assert found["Effective_MACs"] == 2000
    assert found["Effective_ACs"] == 800
    assert found["Footprint"] == 8080
    assert found["MembraneUpdates"] == 400
    assert found["ConnectionSparsity"] == pytest.approx(5 / 2020)
    assert found["ActivationSparsity"] == pytest.approx(0.9)
    for name, charge in found["models"].items():
        assert sum(layer["joules"][name] for layer in found["layers"]) == pytest.approx(
            charge["joules"]
        )
        assert sum(charge["parts"].values()) == pytest.approx(charge["joules"])
        assert [*charge["baselines"]] == ["ann-fp32", "ann-int8", "ann-bits"]
        assert charge["baselines"]["ann-bits"]["activation_bits"] == 3  # 0 to 4 spikes
    crossover = found["models"]["classical"]["baselines"]["ann-fp32"]["crossover"]
    # 2000 MACs remain at any rate; 1000 MACs more would be paid by 4600 pJ of accumulations.
    assert crossover["factor"] == pytest.approx(4600 / 720)


def test_all_models_together_are_json() -> None:
    json.dumps(report(*names()).to_dict(), allow_nan=False)


def test_table_fits_100_columns_and_says_what_has_to_be_known() -> None:
    text = shown(report(*names(), uncovered=("odd (Odd): sort, 1 call",), notes=("no spikes",)))
    assert max(len(line) for line in text.splitlines()) <= 100
    for expected in ("first_conv", "12 k", "9.92 nJ", "13.8 nJ", "ann-int8", "95 % interval",
                     "ac_float32", "NOT COUNTED: odd (Odd): sort", "Note: no spikes",
                     "1 x norm: folded into its neighbour", "limit: "):  # fmt: skip
        assert expected in " ".join(text.split()), expected


def test_csv_is_a_line_for_each_layer() -> None:
    lines = list(csv.DictReader(io.StringIO(report("classical", "step").to_csv())))
    assert [line["name"] for line in lines] == [layer.name for layer in LAYERS]
    assert float(lines[0]["joules_classical"]) == pytest.approx(9.2e-9)
    assert float(lines[2]["input_reads_bits"]) == 40
    assert lines[2]["name"] == "head & 50%"


def test_latex_is_escaped_and_rectangular() -> None:
    text = report("classical", "step").to_latex()
    assert r"head \& 50\%" in text
    assert r"first\_conv" in text
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {row.replace(r"\&", "").count("&") for row in rows} == {7}
    assert rows[-1].startswith("ann-bits & ")
    assert sum(row.startswith("total & ") for row in rows) == 1


def test_a_report_without_models_or_layers_is_one_of_counts() -> None:
    plain = EnergyReport.of(counts(), models=())
    assert "12 k" in shown(plain)
    assert "first" in plain.to_latex()
    empty = EnergyReport.of(Counts((), samples=1, steps=1), models=["classical"])
    assert empty.to_csv() == ""
    assert "total" in shown(empty)
    json.dumps(empty.to_dict(), allow_nan=False)


def test_widths_change_the_traffic_alone_where_no_model_is_named() -> None:
    narrow = EnergyReport.of(counts(), models=(), widths=Widths(weight=4))
    assert narrow.totals.traffic.weight_reads == 2800 * 4
