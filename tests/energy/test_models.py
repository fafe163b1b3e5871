"""Energy models against figures worked out by hand from published constants."""

from dataclasses import replace

import pytest

from spikesim.energy.layer import BINARY, REAL, Counts, LayerCounts, Widths
from spikesim.energy.model import EnergyModel, joules
from spikesim.energy.models import get, names, several
from spikesim.errors import UserError

PJ = 1e-12

SPIKING = LayerCounts(
    name="fc",
    kind="linear",
    values=BINARY,
    effective_acs=300.0,
    ann_macs=500.0,
    spikes=30.0,
    inputs=200.0,
    outputs=40.0,
    weights=500.0,
    weight_reads=300.0,
    passes=4.0,
)
STEM = LayerCounts(
    name="stem",
    kind="conv",
    values=REAL,
    effective_macs=70.0,
    ann_macs=20.0,
    spikes=9.0,
    inputs=9.0,
    outputs=12.0,
    weights=30.0,
    weight_reads=70.0,
    passes=4.0,
)
CELLS = LayerCounts(
    name="lif",
    kind="neuron",
    spikes=11.0,
    rate=11.0 / 40.0,
    outputs=40.0,
    updates=40.0,
    additions=80.0,
    multiplications=40.0,
    state_reads=40.0,
    state_writes=40.0,
    passes=4.0,
)


def spent(model: EnergyModel, *layers: LayerCounts, steps: int = 4) -> float:
    return joules(model, Counts(layers, samples=1, steps=steps)).total / PJ


def test_classical_charges_4_6_and_0_9_pj() -> None:
    assert spent(get("classical"), STEM, SPIKING, CELLS) == pytest.approx(70 * 4.6 + 300 * 0.9)


def test_an_8_bit_mac_into_32_bits_costs_0_3_pj_and_into_8_the_quoted_0_23() -> None:
    assert spent(get("integer"), STEM) == pytest.approx(70 * 0.3)
    assert spent(get("integer", accumulator=8), STEM) == pytest.approx(70 * 0.23)


def test_a_32_bit_integer_mac_costs_3_2_pj_and_a_synaptic_event_an_addition() -> None:
    wide = get("integer", widths=Widths(weight=32, activation=32))
    assert spent(wide, STEM) == pytest.approx(70 * 3.2)
    assert spent(wide, SPIKING) == pytest.approx(300 * 0.1)


def test_integers_charge_neurons_for_their_arithmetic() -> None:
    assert spent(get("integer"), CELLS) == pytest.approx(80 * 0.1 + 40 * 3.1)
    unknown = replace(CELLS, additions=0.0, multiplications=0.0, updates=80.0, state_reads=160.0)
    assert spent(get("integer"), unknown) == pytest.approx((320 + 80) * 0.1 + 160 * 3.1)


def test_narrow_widths_scale_adders_by_bits_and_multipliers_by_their_product() -> None:
    four = get("integer", widths=Widths(weight=4, activation=4), accumulator=20)
    assert spent(four, STEM) == pytest.approx(70 * (0.2 * 16 / 64 + 0.03 + 0.5 * 0.07))


def test_a_layer_with_its_own_bits_is_charged_for_them() -> None:
    narrow = replace(STEM, weight_bits=4)
    assert spent(get("integer"), narrow) == pytest.approx(70 * (0.2 * 32 / 64 + 0.1))


def test_28_nm_lies_between_the_nodes_that_stillmaker_and_baas_fitted() -> None:
    def factor(a: float, b: float, c: float) -> float:
        return a * 0.9**2 + b * 0.9 + c

    # Coefficients of energy at 45, 32 and 20 nm, read in nodeScale (UCLA NanoCAD).
    start = factor(1.018, -0.3107, 0.1539)
    high = factor(0.8367, -0.4341, 0.1701) / start
    low = factor(0.373, -0.1582, 0.04104) / start
    big, small = get("integer").constants, get("integer", node=28).constants
    for name, constant in small.items():
        ends = (big[name].value * low, big[name].value * high)
        assert (constant.low, constant.high) == pytest.approx(ends, rel=0.01)


def test_smaller_nodes_cost_less() -> None:
    spent_at = [spent(get("integer", node=node), STEM, SPIKING) for node in (45, 28, 7)]
    assert spent_at == sorted(spent_at, reverse=True)


def test_step_adds_every_bit_that_moves() -> None:
    weights = 300 * 32 / 2.0
    activations = 30 * 1 + 40 * 32
    state = 2 * 40 * 32 + 40 * 1
    model = get("step", weight_reuse=2.0)
    assert spent(model, SPIKING, CELLS) == pytest.approx(
        300 * 0.9 + 3.12 * (weights + activations + state)
    )


def test_step_charges_narrow_numbers_as_integers() -> None:
    model = get("step", widths=Widths(weight=8, activation=8), memory=0.0, bit_density=0.5)
    assert spent(model, STEM, SPIKING) == pytest.approx(35 * 0.3 + 300 * 0.1)


def test_loihi_charges_events_and_time() -> None:
    model = get("loihi", seconds_per_step=1e-3, hops=2.0)
    events = 300 * 23.6 + 40 * 52.0 + 11 * (1.7 + 2 * 3.5)
    idle = 29.7e-3 * 4e-3 / PJ
    assert spent(model, SPIKING, CELLS) == pytest.approx(events + idle)
    still = get("loihi", seconds_per_step=0.0, hops=2.0)
    assert spent(still, SPIKING, CELLS) == pytest.approx(events)


def test_idle_energy_does_not_depend_on_how_a_network_is_cut_into_layers() -> None:
    model = get("truenorth")
    whole = 64.43e-3 * 4e-3 / PJ
    assert spent(model, CELLS, CELLS) == pytest.approx(whole)
    assert spent(model, *[LayerCounts(name="pool", kind="pool")] * 3) == pytest.approx(whole)


def test_contradictory_figures_are_variants_and_within_the_range() -> None:
    average = get("truenorth", variant="average", seconds_per_step=0.0)
    assert spent(average, SPIKING) == pytest.approx(300 * 26.0)
    usual, other = (get("truenorth", variant=kind).constants["synapse"] for kind in ("", "average"))
    assert usual.low <= other.value <= usual.high
    assert other.value > 10 * usual.value
    makers, table = (get("spinnaker", variant=kind).constants["synapse"] for kind in ("", "tang"))
    assert table.low <= makers.value <= table.high
    assert makers.value > 900 * table.value


def test_spinnaker_is_charged_as_its_makers_measured() -> None:
    # Sharp et al. (2012): 100 nJ a neuron and millisecond, 43 nJ a postsynaptic potential.
    assert spent(get("spinnaker"), SPIKING, CELLS) == pytest.approx(300 * 43e3 + 40 * 100e3)


def test_variants_stand_side_by_side_and_equal_names_are_refused() -> None:
    both = several([get("truenorth"), get("truenorth", variant="average"), "step"])
    assert [model.name for model in both] == ["truenorth", "truenorth (average)", "step"]
    with pytest.raises(UserError, match="two energy models are named 'step'"):
        several(["step", get("step", memory=0.0)])


def test_title_tells_the_time_of_a_step_for_which_idle_power_is_charged() -> None:
    assert get("loihi").title.endswith("1 ms a step")
    assert get("loihi", seconds_per_step=1e-4).title.endswith("0.1 ms a step")
    for chip in (get("loihi", seconds_per_step=0.0), get("spinnaker2")):
        assert "a step" not in chip.title


@pytest.mark.parametrize("name", names())
def test_each_constant_has_a_source_and_lies_in_its_range(name: str) -> None:
    model = get(name)
    assert model.name == name
    for constant in model.constants.values():
        assert 0.0 <= constant.low <= constant.value <= constant.high
        assert constant.source
        if "[recalled]" in constant.source:
            assert constant.high >= 1.5 * constant.low


def test_a_given_constant_is_certain() -> None:
    model = get("step", constants={"weight_bit": 1.0})
    assert model.constants["weight_bit"].low == model.constants["weight_bit"].high == 1.0


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("loihi3", {}, "there are: classical, step, lemaire, integer, loihi, truenorth"),
        ("loihi2", {}, "no energy per operation is published for Loihi 2"),
        ("step", {"reuse": 2}, "no setting 'reuse'; did you mean 'weight_reuse'"),
        ("step", {"weight_reuse": 0.5}, "weight_reuse >= 1"),
        ("integer", {"node": 5}, "45, 28, 7"),
        ("truenorth", {"variant": "mean"}, "no variant 'mean'"),
        ("DynapCNN", {}, "no energy per operation was found for DynapCNN"),
        ("spinnaker2", {"variant": "system"}, "no variant 'system'; there are none"),
        ("loihi", {"hops": -1.0}, "must be >= 0"),
        ("loihi", {"hops": float("nan")}, "must be >= 0 and finite"),
        ("loihi", {"seconds_per_step": float("inf")}, "must be >= 0 and finite"),
        ("step", {"memory": float("nan")}, "memory must be >= 0"),
        ("step", {"weight_reuse": float("nan")}, "weight_reuse >= 1"),
        ("step", {"accumulator": 0}, "accumulator must have >= 1 bits"),
        ("integer", {"accumulator": -3}, "accumulator must have >= 1 bits"),
        ("lemaire", {"queue": float("nan")}, "queue must hold"),
        ("lemaire", {"queue": 0}, "queue must hold"),
        ("step", {"constants": {"weigth_bit": 1.0}}, "did you mean 'weight_bit'"),
        ("step", {"constants": {"weight_bit": float("nan")}}, "must be >= 0 pJ"),
    ],
)
def test_wrong_names_and_settings_say_what_exists(
    name: str, settings: dict[str, object], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        get(name, **settings)  # type: ignore[arg-type]
