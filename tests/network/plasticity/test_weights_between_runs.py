"""Weights that are set between two runs, against the same rule on weights that were not."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network import AllToAll, Network
from spikesim.network.plasticity import PairSTDP, RewardSTDP
from spikesim.neurons import LIFExp

STEPS, HALF = 300, 150
ADDITIVE = PairSTDP(w_max=10.0, w_min=-10.0, mu_plus=0.0, mu_minus=0.0, rate=0.01)


def trains(count: int, seed: int) -> list[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return [1 + np.flatnonzero(random.random(STEPS - 10) < 0.1) for _ in range(count)]


PRE, POST = trains(3, 1), trains(4, 2)


def test_changes_of_an_additive_rule_do_not_know_what_was_set(pairing: Any) -> None:
    left, moved = pairing(ADDITIVE, PRE, POST), pairing(ADDITIVE, PRE, POST)
    for made in (left, moved):
        made.net.run(HALF * 0.5)
    shift = np.linspace(-1.0, 1.0, 12)
    before = moved.projection.weights()
    moved.projection.set_weights(before + shift)
    np.testing.assert_array_equal(moved.projection.weights(), before + shift)
    for made in (left, moved):
        made.net.run((STEPS - HALF) * 0.5)
    found = moved.projection.weights() - left.projection.weights()
    np.testing.assert_allclose(found, shift, atol=1e-12)
    assert np.abs(left.projection.weights() - before).min() > 0


def test_eligibility_outlives_the_weight(pairing: Any) -> None:
    rule = RewardSTDP(w_max=10.0, w_min=-10.0, tau_e=100.0)
    left, moved = (pairing(rule, PRE, POST, modulator=lambda net: net.modulator()) for _ in "ab")
    for made in (left, moved):
        made.net.run(HALF * 0.5)
    moved.projection.set_weights(np.full(12, 2.0))
    for made in (left, moved):
        made.modulator.value = 0.1
        made.net.run(50.0)
    grown = moved.projection.weights() - 2.0
    np.testing.assert_allclose(grown, left.projection.weights() - 0.5, atol=1e-12)
    assert np.abs(grown).min() > 0


@pytest.mark.parametrize("ran", [0.0, 10.0])
def test_weights_are_brought_back_to_the_bounds(ran: float) -> None:
    net = Network(dt=0.5)
    cells = net.population(LIFExp(), 2)
    projection: Any = net.connect(
        cells, cells, AllToAll(), weight=-1.0, plasticity=PairSTDP(w_max=3.0)
    )
    net.run(ran)
    projection.set_weights([[-5.0, -2.5], [-1.0, 4.0]])
    assert projection.weights().tolist() == [-3.0, -2.5, -1.0, 0.0]
    for given, message in (
        ([1.0, 2.0], "takes 4 weights, got 2"),
        ([0.0, 1.0, np.nan, 0.0], "must be finite"),
    ):
        with pytest.raises(UserError, match=message):
            projection.set_weights(given)
    assert projection.weights().tolist() == [-3.0, -2.5, -1.0, 0.0]
