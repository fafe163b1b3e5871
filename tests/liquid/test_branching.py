"""The branching factor against its definition, spike by spike."""

import math

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.liquid.branching import branching_factor
from spikesim.liquid.topology import Topology, Wiring


def by_definition(z: np.ndarray, wiring: Wiring, window: int, margin: int) -> float:
    onto: dict[int, list[int]] = {n: [] for n in range(wiring.neurons)}
    origin: dict[int, list[int]] = {n: [] for n in range(wiring.neurons)}
    for sender, target in zip(wiring.sender, wiring.target, strict=True):
        if sender >= wiring.inputs:
            onto[sender - wiring.inputs].append(target)
            origin[target].append(sender - wiring.inputs)
    means = []
    for n in range(wiring.neurons):
        ratios = []
        for t in range(margin, len(z) - margin):
            if z[t, n]:
                before = z[t - window : t][:, origin[n]].sum()
                after = z[t + 1 : t + window + 1][:, onto[n]].sum()
                ratios.append(after / max(before, 1))
        if ratios:
            means.append(np.mean(ratios))
    return float(np.mean(means))


@pytest.mark.parametrize(("window", "margin"), [(4, 25), (2, 2)])
def test_it_is_the_mean_over_spikes_and_then_over_neurons(window: int, margin: int) -> None:
    wiring = Topology(inputs=5, grid=(3, 3, 3), length=5.0).draw(1)
    z = np.random.default_rng(0).random((120, 27)) < np.linspace(0.0, 0.3, 27)
    found = branching_factor(z, wiring, window=window, margin=margin)
    assert found == pytest.approx(by_definition(z, wiring, window, margin), rel=1e-5)


def test_a_chain_that_hands_on_one_spike_has_factor_one() -> None:
    neurons = 200
    sender = np.arange(neurons - 1)
    wiring = Wiring(
        np.concatenate([[0], np.minimum(np.arange(neurons) + 1, neurons - 1)]).astype(np.int64),
        (sender + 1).astype(np.int32),
        np.ones(neurons - 1, np.float32),
        0,
        np.zeros(neurons, np.bool_),
    )
    assert branching_factor(np.eye(neurons, dtype=bool), wiring) == 1.0
    assert math.isnan(branching_factor(np.zeros((100, neurons)), wiring))


def test_a_margin_below_the_window_is_refused() -> None:
    with pytest.raises(UserError, match="need 1 <= window <= margin, got 4 and 3"):
        branching_factor(np.zeros((9, 27)), Topology(1, (3, 3, 3)).draw(), margin=3)


def test_spikes_of_another_liquid_are_refused() -> None:
    wiring = Topology(inputs=1, grid=(2, 2, 2)).draw()
    with pytest.raises(UserError, match=r"must be \[steps, 8\], got \[60, 9\]"):
        branching_factor(np.zeros((60, 9)), wiring)
