"""Eligibility and modulator, against a loop over all steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network import AllToAll, Network
from spikesim.network.plasticity import PairSTDP, RewardSTDP
from spikesim.neurons import LIFExp

DT, DELAY, LAST = 0.5, 2, 400
RULE = RewardSTDP(
    w_max=100.0,
    w_min=-100.0,
    a_plus=0.1,
    a_minus=0.12,
    tau_plus=15.0,
    tau_minus=25.0,
    tau_e=40.0,  # sums of the modulator begin anew every 320 steps
)


def trains(count: int, seed: int) -> list[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return [1 + np.flatnonzero(random.random(LAST - 20) < 0.08) for _ in range(count)]


PRE, POST = trains(3, 1), trains(4, 2)


def wanted(level: Callable[[int, int], float], last: int = LAST) -> NDArray[np.float64]:
    """Weights ``[senders, receivers]``; ``level(step, receiver)`` is the modulator."""
    found = np.zeros((len(PRE), len(POST)))
    for (j, i), _ in np.ndenumerate(found):
        x = y = e = 0.0
        w = 0.5
        for n in range(last):
            x *= np.exp(-DT / 15.0)
            y *= np.exp(-DT / 25.0)
            e *= np.exp(-DT / 40.0)
            is_pre, is_post = n in PRE[j], n - DELAY in POST[i]
            e += 0.1 * x * is_post - 0.12 * y * is_pre
            x, y = x + is_pre, y + is_post
            w += DT * level(n, i) * e
        found[j, i] = w
    return found


def agree(made: Any, level: Callable[[int, int], float], last: int = LAST) -> None:
    found = made.projection.weights().reshape(len(PRE), len(POST))
    np.testing.assert_allclose(found, wanted(level, last), rtol=1e-12, atol=1e-12)


def test_a_constant_modulator(pairing: Any) -> None:
    made = pairing(RULE, PRE, POST, modulator=lambda net: net.modulator(0.03))
    made.net.run(LAST * DT)
    agree(made, lambda n, i: 0.03)


def test_dopamine_comes_between_runs_and_decays(pairing: Any) -> None:
    made = pairing(RULE, PRE, POST, modulator=lambda net: net.modulator(tau=30.0))
    made.net.run(100 * DT)
    assert (made.projection.weights() == 0.5).all()
    made.modulator.add(0.2)
    made.net.run(50 * DT)
    made.modulator.add(-0.1)
    made.net.run((LAST - 150) * DT)

    def level(n: int, i: int) -> float:
        fade = np.exp(-DT / 30.0)
        return 0.2 * fade ** (n - 100) * (n >= 100) - 0.1 * fade ** (n - 150) * (n >= 150)

    agree(made, level)


def test_a_function_of_time_for_each_neuron(pairing: Any) -> None:
    asked = []

    def error(ms: float) -> NDArray[np.float64]:
        asked.append(ms)
        return 0.05 * np.sin(ms / 10.0 + np.arange(len(POST)))

    made = pairing(
        RULE,
        PRE,
        POST,
        modulator=lambda net: net.modulator(error, post=net.groups[2], every=5.0),
    )
    for steps in (33, 7, LAST - 40):
        made.net.run(steps * DT)
    assert set(asked) == {5.0 * k for k in range(40)}
    agree(made, lambda n, i: 0.05 * np.sin(n // 10 * 5.0 / 10.0 + i))


def test_a_look_is_exact_at_any_time_and_changes_nothing(pairing: Any) -> None:
    made = pairing(RULE, PRE, POST, modulator=lambda net: net.modulator(0.03, tau=1000.0))
    probe = made.net.probe(made.projection, "weight", synapses=[1, 7, 11], every=1.5)
    last = 0
    for steps in (50, 1, 268, 1, 1, LAST - 321):  # to 319, 320 and 321 too: around a window's end
        made.net.run(steps * DT)
        last += steps
        agree(made, lambda n, i: 0.03 * np.exp(-n * DT / 1000.0), last)
    np.testing.assert_allclose(probe.times, 1.5 * np.arange(1, LAST // 3 + 1))
    for k in (0, 40, 106, 132):
        full = wanted(lambda n, i: 0.03 * np.exp(-n * DT / 1000.0), 3 * (k + 1)).reshape(-1)
        np.testing.assert_allclose(probe.values[k], full[[1, 7, 11]], rtol=1e-12)


def test_reward_strengthens_what_came_before_it() -> None:
    """Of many synapses the one whose pairs are rewarded, seconds later, grows most."""
    random = np.random.default_rng(1)
    net = Network(dt=1.0, seed=3)
    cell = net.population(LIFExp(t_ref=2.0), 1, name="cell")
    steps = np.flatnonzero(random.random(30_000) < 0.02)
    who = random.integers(0, 20, steps.size)
    rewarded = np.sort(random.choice(np.arange(500, 29_000), 40, replace=False))
    # Sender 0 makes the cell fire in the end of each rewarded moment.
    times = np.concatenate([steps, rewarded]) + 0.5
    senders = net.spikes(times, np.concatenate([who, np.zeros(40, int)]), 20, name="senders")
    teacher = net.spikes(rewarded + 4.5, np.zeros(40, int), 1, name="teacher")
    net.connect(teacher, cell, AllToAll(), weight=20_000.0)
    dopamine = net.modulator(tau=200.0)
    rule = RewardSTDP(w_max=50.0, a_plus=1.0, a_minus=1.05, tau_e=500.0)
    synapses = net.connect(
        senders, cell, AllToAll(), weight=1.0, plasticity=rule, modulator=dopamine
    )
    for moment in rewarded:
        net.run(max(float(moment + 300) - net.time, 0.0))
        dopamine.add(0.005)
    net.run(2000.0)
    weights = synapses.table()["weight"]
    assert weights.argmax() == 0
    assert weights[0] > 2.0 * np.sort(weights)[-2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda net: net.modulator(np.nan), "modulator must be finite"),
        (lambda net: net.modulator([1.0, 2.0]), "gives shape .2.; give one value"),
        (lambda net: net.modulator(tau=-1.0), "tau of modulator must be > 0 ms"),
        (lambda net: net.modulator(lambda ms: 1.0, tau=2.0), "cannot decay by itself"),
        (lambda net: net.modulator(1.0, every=2.0), "no function of time"),
        (lambda net: net.modulator(1.0, post=net.groups[0]), "values for other neurons"),
        (lambda net: None, "pass modulator=net.modulator"),
    ],
)
def test_wrong_modulators_are_refused(
    pairing: Any, wrong: Callable[[Network], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        pairing(RULE, PRE, POST, modulator=wrong)


def test_values_of_a_function_are_looked_at(pairing: Any) -> None:
    made = pairing(
        RULE, PRE, POST, modulator=lambda net: net.modulator(lambda ms: np.log(9.0 - ms))
    )
    with np.errstate(divide="ignore"), pytest.raises(UserError, match="be finite at 9 ms"):
        made.net.run(LAST * DT)
    made = pairing(RULE, PRE, POST, modulator=lambda net: net.modulator(lambda ms: [ms, ms]))
    with pytest.raises(UserError, match=r"gives shape .* at 0 ms; give one value"):
        made.net.run(1.0)


def test_a_modulator_without_eligibility_is_refused(pairing: Any) -> None:
    with pytest.raises(UserError, match="has no eligibility to modulate"):
        pairing(PairSTDP(w_max=2.0), PRE, POST, modulator=lambda net: net.modulator())
