"""Rules of published networks with their numbers, against what was published."""

import math
from typing import Any

import numpy as np
import pytest

from spikesim.network.recipes.diehl_cook import RULE as OF_FIELDS
from spikesim.network.recipes.distal_reward import REWARD
from spikesim.network.recipes.distal_reward import RULE as OF_DOPAMINE

DT, DELAY = 0.5, 2  # ms, steps


def test_fields_learn_as_in_the_program_of_diehl_and_cook(pairing: Any) -> None:
    """Its two statements: at a sender's spike, and at a receiver's."""
    random, last = np.random.default_rng(3), 2000
    pre, post = (
        [1 + np.flatnonzero(random.random(last - 10) < rate) for rate in rates]
        for rates in ((0.005, 0.03), (0.01, 0.05, 0.1))
    )
    made = pairing(OF_FIELDS, pre, post)
    made.net.run(last * DT)
    found = made.projection.weights().reshape(2, 3)
    for (j, i), weight in np.ndenumerate(found):
        w, x, y1, y2 = 0.5, 0.0, 0.0, 0.0
        for n in range(last):
            x, y1, y2 = (v * math.exp(-DT / tau) for v, tau in ((x, 20), (y1, 20), (y2, 40)))
            old = x, y1, y2
            if n - DELAY in post[i]:
                w = min(w + 0.01 * old[0] * old[2], 1.0)
                y1 = y2 = 1.0
            if n in pre[j]:
                w = max(w - 1e-4 * old[1], 0.0)
                x = 1.0
        assert weight == pytest.approx(w, rel=1e-12)
    assert np.abs(found - 0.5).min() > 1e-3


@pytest.mark.parametrize("late", [500.0, 1000.0, 3000.0])
def test_dopamine_pays_what_was_published(pairing: Any, late: float) -> None:
    """A pair of spikes 5 ms apart, and a reward afterwards: the integral of figure 1."""
    sender, receiver = 10, 10 + round(5.0 / DT) - DELAY
    made = pairing(
        OF_DOPAMINE,
        [[sender]],
        [np.array([receiver])],
        modulator=lambda net: net.modulator(tau=200.0),
    )
    made.net.run((receiver + DELAY) * DT + late)
    made.modulator.add(REWARD)
    made.net.run(2000.0)
    # Eligibility 0.1 * 0.1 / ms for spikes at once; it falls in 1 s, dopamine in 0.2 s.
    eligible = 0.01 * math.exp(-5.0 / 20.0 - late / 1000.0)
    grown = eligible * REWARD / (1 / 1000.0 + 1 / 200.0)
    assert made.projection.weights()[0] - 0.5 == pytest.approx(grown, rel=0.005)
