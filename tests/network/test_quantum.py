"""Quanta: no sum overflows, none is coarser than it must be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesim.errors import UserError
from spikesim.network import AllToAll, Network, OneToOne, Uniform
from spikesim.network.quantum import MARGIN, quantum
from spikesim.neurons import LIFDelta


@given(st.floats(1e-30, 1e30), st.integers(0, 10**6), st.sampled_from([32, 64]))
def test_quantum_is_the_smallest_that_holds_a_sum(largest: float, count: int, bits: int) -> None:
    unit = quantum(largest, count, bits)
    assert math.frexp(unit)[0] == 0.5

    def holds(unit: float) -> bool:
        return int(largest / unit) + count / 2 < 2 ** (bits - 1) - 1

    assert holds(unit)
    assert unit == 2.0**-126 or not holds(unit / 2 / float(MARGIN))


def integrator(**options: float) -> LIFDelta:
    """Its potential is the sum of what arrived."""
    return LIFDelta(tau_m=1e30, e_l=0.0, v_threshold=1e30, **options)


@pytest.mark.parametrize("weight", [1.0, 1.7, -1e-4, 3e20])
def test_all_synapses_at_once_do_not_overflow(weight: float) -> None:
    net = Network(dt=1.0)
    source = net.spikes(np.ones(4000), np.arange(4000), 4000)
    cells = net.population(integrator(), 3)
    net.connect(source, cells, AllToAll(), weight=weight, receptor="delta")
    net.run(3.0)
    np.testing.assert_allclose(cells.state["v"], 4000 * weight, rtol=1e-4)


def test_rounding_is_below_the_quantum_for_each_synapse() -> None:
    net = Network(dt=1.0)
    source = net.spikes(np.ones(300), np.arange(300), 300)
    cells = net.population(integrator(), 300)
    projection = net.connect(source, cells, OneToOne(), weight=Uniform(0.5, 1.0))
    drawn = np.array(projection.table()["weight"])
    net.run(3.0)
    stored = projection.table()["weight"]
    assert np.abs(stored - drawn).max() <= projection.quantum / 2
    np.testing.assert_array_equal(cells.state["v"], stored.astype(np.float32))


def test_drives_are_part_of_the_sum() -> None:
    def unit(weight: float, rate: float, amplitude: float) -> float:
        net = Network(dt=1.0)
        source = net.spikes([], [], 1)
        cells = net.population(integrator(), 1)
        one = net.connect(source, cells, OneToOne(), weight=weight)
        net.poisson(cells, rate, weight)
        net.current(cells, amplitude, receptor="delta")
        net.run(1.0)
        return one.quantum

    alone = unit(1.0, 0.0, 0.0)
    assert unit(1.0, 1000.0, 0.0) >= 32 * alone
    assert unit(1.0, 0.0, 100.0) == 64 * alone


def test_a_quantum_too_coarse_is_refused_with_neuron_and_receptor() -> None:
    net = Network(dt=1.0)
    source = net.spikes([1.0], [0], 2, name="source")
    cells = net.population(integrator(), 5, name="cells")
    net.connect(source, cells, AllToAll(), weight=1e-3, name="weak")
    amplitude = np.zeros(5)
    amplitude[3] = 1e5
    net.current(cells, amplitude, receptor="delta")
    with pytest.raises(UserError, match=r"cells, receptor 'delta', neuron 3: .* quantum .*'weak'"):
        net.run(1.0)
    with pytest.raises(UserError, match="float64"):
        net.run(1.0)


def test_float64_holds_what_float32_cannot() -> None:
    net = Network(dt=1.0, dtype="float64")
    source = net.spikes([1.0], [0], 1)
    cells = net.population(integrator(), 5)
    net.connect(source, cells, AllToAll(), weight=1e-3)
    net.current(cells, 1e5, receptor="delta")
    net.run(1.0)
    net.run(1.0)
    np.testing.assert_allclose(cells.state["v"], 2e5 + 1e-3, rtol=1e-15)
