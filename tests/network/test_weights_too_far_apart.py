"""One quantum for weights of very different sizes: refused where some would be lost in silence."""

from typing import Any

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import AllToAll, Exponential, LogNormal, Network, OneToOne, Uniform
from spikesim.network.quantum import COARSE
from spikesim.neurons import LIFDelta


def arriving(weight: Any, dtype: Any = "float32", current: Any = 0.0) -> np.ndarray:
    """What 6 neurons get in a step if all of 6 senders spike; and weights in quanta."""
    net = Network(dt=1.0, dtype=dtype)
    source = net.spikes(np.ones(6), np.arange(6), 6, name="source")
    cells = net.population(LIFDelta(tau_m=1e30, e_l=0.0, v_threshold=1e30), 6, name="cells")
    net.connect(source, cells, AllToAll(), weight=weight, name="synapses")
    net.current(cells, current, receptor="delta")
    net.run(2.0)
    return cells.state["v"].copy()


def test_a_huge_weight_among_small_ones_onto_one_neuron_is_refused() -> None:
    """The mean of the weights says nothing: it is above 1000 quanta."""
    weights = np.full((6, 6), 1e-4)
    weights[0] = 1e6
    message = (
        r"cells, receptor 'delta', neuron 0: up to 1e\+06 in one step needs a quantum of 0.000\d+, "
        r"too coarse for 0.83 of the weights of 'synapses', which lie between 0.0001 and 1e\+06 in "
        r"size \(at least 32 quanta\): use dtype='float64', bring the weights closer together"
    )
    with pytest.raises(UserError, match=message):
        arriving(weights)
    np.testing.assert_allclose(arriving(weights, "float64"), 1e6 + 5e-4, rtol=1e-15)


def test_a_neuron_that_gets_next_to_nothing_is_named() -> None:
    weights = np.ones((6, 6))
    weights[:, 4] = 1e-9
    with pytest.raises(UserError, match="too coarse for neuron 4, which gets up to"):
        arriving(weights)
    assert arriving(weights, "float64")[4] == pytest.approx(6e-9, rel=1e-6)


def test_a_small_current_beside_a_large_one_is_refused() -> None:
    with pytest.raises(UserError, match="too coarse for neuron 3, which gets up to 1e-06"):
        arriving(0.0, current=[1e6, 0.0, 0.0, 1e-6, 0.0, 0.0])


def test_what_rounding_left_in_place_of_zero_is_no_mistake() -> None:
    current = 100.0 * np.sin(np.linspace(0.0, np.pi, 6))
    assert 0 < current[-1] < 1e-12
    np.testing.assert_allclose(arriving(0.0, current=current), 2 * current, atol=1e-6)


@pytest.mark.parametrize("law", [Uniform(0.0, 2.0), Exponential(1.0), LogNormal(0.0, 2.0)])
def test_distributions_that_come_close_to_zero_are_taken(law: Any) -> None:
    net = Network(dt=1.0)
    cells = net.population(LIFDelta(), 400)
    projection = net.connect(cells, cells, AllToAll(), weight=law)
    before = projection.table()["weight"]
    net.run(1.0)
    after = projection.table()["weight"]
    assert np.abs(after - before).max() <= 0.5 * projection.quantum
    assert np.mean(before < COARSE * projection.quantum) < 1e-3


def test_zeros_among_weights_are_no_small_weights() -> None:
    weights = np.zeros((6, 6))
    weights[2] = 1.0
    np.testing.assert_array_equal(arriving(weights), np.ones(6))


def test_weights_of_one_to_one_may_differ_by_much() -> None:
    net = Network(dt=1.0)
    cells = net.population(LIFDelta(), 3)
    net.connect(cells, cells, OneToOne(), weight=[1.0, 1e-3, 1e-6])
    net.run(1.0)
