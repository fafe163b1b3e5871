"""What holds of every energy model, whatever the counts."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesim.energy.baseline import at_rate, crossover
from spikesim.energy.layer import BINARY, INTEGER, REAL, Counts, LayerCounts, Widths
from spikesim.energy.model import Constant, EnergyModel, joules
from spikesim.energy.models import get, names
from spikesim.energy.uncertainty import evaluate, form, interval, sensitivity

NUMBERS = st.floats(0.0, 1e9, allow_subnormal=False).map(round).map(float)


@st.composite
def layers(draw: st.DrawFn) -> LayerCounts:
    kind = draw(st.sampled_from(["conv", "linear", "attention", "neuron", "pool"]))
    values = draw(st.sampled_from([BINARY, INTEGER, REAL]))
    done, passes = draw(NUMBERS), draw(st.integers(1, 8))
    fired, out = sorted([draw(NUMBERS), draw(NUMBERS)])
    common = {"name": "x", "kind": kind, "outputs": out, "passes": float(passes)}
    if kind == "neuron":
        return LayerCounts(
            **common,
            spikes=fired,
            rate=fired / max(out, 1.0),
            updates=out,
            additions=2 * out,
            multiplications=out,
            state_reads=out,
            state_writes=out,
        )
    if kind == "pool":
        return LayerCounts(**common, values=values, spikes=fired, inputs=out)
    return LayerCounts(
        **common,
        values=values,
        effective_acs=done if values == BINARY else 0.0,
        effective_macs=0.0 if values == BINARY else done,
        ann_macs=draw(NUMBERS),
        spikes=fired,
        inputs=out,
        weights=draw(NUMBERS),
        weight_reads=done,
        weight_bits=draw(st.sampled_from([None, None, 4])),
    )


COUNTS = st.lists(layers(), min_size=1, max_size=4).map(
    lambda found: Counts(tuple(found), samples=1, steps=4)
)
MODELS = st.sampled_from(names()).map(get)


@settings(max_examples=30, deadline=None)
@given(COUNTS)
def test_step_without_memory_at_32_bits_is_the_classical_model_exactly(counts: Counts) -> None:
    plain = replace(
        counts, layers=tuple(replace(layer, weight_bits=None) for layer in counts.layers)
    )
    step = joules(get("step", memory=0.0, widths=Widths()), plain)
    assert step.layers == joules(get("classical"), plain).layers


@settings(max_examples=30, deadline=None)
@given(COUNTS, COUNTS, st.sampled_from(["classical", "step", "lemaire", "integer", "loihi"]))
def test_totals_are_additive_over_layers(one: Counts, two: Counts, name: str) -> None:
    # Idle power is of the run, not of a layer.
    model = get(name, seconds_per_step=0.0) if name == "loihi" else get(name)
    both = joules(model, replace(one, layers=one.layers + two.layers))
    apart = joules(model, one).total + joules(model, two).total
    assert both.total == pytest.approx(apart, rel=1e-12)
    assert both.total == pytest.approx(sum(both.parts.values()), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(COUNTS, MODELS, st.floats(0.0, 10.0), st.floats(0.0, 10.0))
def test_totals_are_linear_in_constants(
    counts: Counts, model: EnergyModel, a: float, b: float
) -> None:
    first = dict(model.constants)
    second = {name: _at(found, found.value**2) for name, found in first.items()}
    mixed = {
        name: _at(found, a * found.value + b * second[name].value) for name, found in first.items()
    }
    e1, e2, both = (_total(model, kind, counts) for kind in (first, second, mixed))
    assert both == pytest.approx(a * e1 + b * e2, rel=1e-9, abs=1e-30)


@settings(max_examples=30, deadline=None)
@given(COUNTS, MODELS, st.floats(0.1, 3.0))
def test_at_the_crossover_both_need_the_same(
    counts: Counts, model: EnergyModel, share: float
) -> None:
    other = share * joules(model, counts).total
    found = crossover(model, counts, other)
    if found.factor is None:
        assert found.verdict != "below"
        assert (joules(model, at_rate(counts, 1e-6)).total < other) == (found.verdict == "always")
    else:
        there = joules(model, at_rate(counts, found.factor)).total
        assert there == pytest.approx(other, rel=1e-6)
        assert joules(model, at_rate(counts, 0.5 * found.factor)).total < other


@settings(max_examples=25, deadline=None)
@given(COUNTS, MODELS)
def test_an_interval_holds_the_value_and_is_it_where_constants_are_certain(
    counts: Counts, model: EnergyModel
) -> None:
    spent = form(model, counts)
    assert evaluate(spent) == pytest.approx(joules(model, counts).total, rel=1e-12)
    around = interval(spent, draws=64)
    assert around.low <= around.value <= around.high
    for bar in sensitivity(spent):
        assert bar.low <= around.value * (1 + 1e-12)
        assert bar.high >= around.value * (1 - 1e-12)

    sure = {name: _at(found, found.value) for name, found in model.constants.items()}
    point = interval(form(replace(model, constants=sure), counts), draws=64)  # type: ignore[type-var]
    assert point.low == pytest.approx(around.value, rel=1e-9)
    assert point.high == pytest.approx(around.value, rel=1e-9)


def _at(constant: Constant, value: float) -> Constant:
    return replace(constant, value=value, low=value, high=value)


def _total(model: EnergyModel, constants: dict[str, Constant], counts: Counts) -> float:
    return joules(replace(model, constants=constants), counts).total  # type: ignore[type-var]
