"""Rules against sums over pairs and triplets of spikes, and closed recursions, in float64."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.network import FixedIndegree, Network, Normal, OneToOne
from spikesim.network.plasticity import (
    BCM,
    HomeostaticScaling,
    Oja,
    PairSTDP,
    Plasticity,
    Trace,
    TripletSTDP,
    TsodyksMarkram,
    VogelsSTDP,
)
from spikesim.neurons import LIFExp

DT, DELAY, LAST = 0.5, 2, 400
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def trains(count: int, seed: int, rate: float = 0.08) -> list[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return [1 + np.flatnonzero(random.random(LAST - 20) < rate) for _ in range(count)]


def run(make: Any, rule: Plasticity, pre: Any, post: Any, **options: Any) -> NDArray[Any]:
    """Weights ``[senders, receivers]`` at the end."""
    pairing = make(rule, pre, post, **options)
    pairing.net.run(LAST * DT)
    weights: NDArray[Any] = pairing.projection.weights()
    return weights.reshape(len(pre), len(post))


def kernel(lag: NDArray[np.int64], tau: float) -> NDArray[np.float64]:
    """``exp(-lag / tau)`` for lags above 0, else 0."""
    return np.where(lag > 0, np.exp(-np.maximum(lag, 0) * DT / tau), 0.0)


PRE, POST = trains(3, 1), trains(5, 2)
PRE[0] = np.sort(np.append(PRE[0], POST[0] + DELAY))  # many that meet at once
PRE[0] = np.unique(PRE[0])


def test_pairs_add_up(pairing: Any) -> None:
    rule = PairSTDP(
        w_max=10.0, rate=1e-3, alpha=0.7, tau_plus=14.0, tau_minus=30.0, mu_plus=0.0, mu_minus=0.0
    )
    found = run(pairing, rule, PRE, POST, weight=5.0)
    for j, pre in enumerate(PRE):
        for i, post in enumerate(POST):
            lag = (post + DELAY)[:, None] - pre[None]
            assert (lag == 0).any() or j > 0
            grown = kernel(lag, 14.0).sum() - 0.7 * kernel(-lag, 30.0).sum()
            np.testing.assert_allclose(found[j, i], 5.0 + 1e-2 * grown, **EXACT)


@pytest.mark.parametrize("many", [6, 60])
def test_pairs_add_up_over_long_silence(pairing: Any, many: int) -> None:
    """Senders and receivers that are silent for longer than 16 bits count steps."""
    random, steps = np.random.default_rng(7), 150_000
    tau, rule = 9_000.0, {"mu_plus": 0.0, "mu_minus": 0.0, "tau_minus": 4_000.0}
    pre = [np.array([5, 70_003, 149_900]), np.array([140, 140_001])]
    post = [np.sort(1 + random.choice(steps - 200, many, replace=False)) for _ in range(3)]
    post[2] = np.append(post[2][:3], steps - 120)
    made = pairing(PairSTDP(w_max=10.0, rate=1e-3, tau_plus=tau, **rule), pre, post, weight=5.0)
    made.net.run(steps * DT)
    found = made.projection.weights().reshape(len(pre), len(post))
    for j, i in np.ndindex(found.shape):
        lag = (post[i] + DELAY)[:, None] - pre[j][None]
        grown = kernel(lag, tau).sum() - kernel(-lag, 4_000.0).sum()
        assert abs(grown) > 1e-2
        np.testing.assert_allclose(found[j, i], 5.0 + 1e-2 * grown, **EXACT)


def test_another_state_at_the_same_step_is_followed(pairing: Any) -> None:
    """What loops keep beside a state does not outlive it."""
    rule, half = PairSTDP(w_max=10.0, rate=0.01), LAST // 2
    late = [np.arange(half + 3, LAST - 20, 7), np.arange(half + 5, LAST - 20, 9)]
    early = [trains(2, seed, 0.2) for seed in (11, 12)]
    made = [
        pairing(rule, [late[0]], [np.append(t[t < half], late[1]) for t in post], dtype="float32")
        for post in early
    ]
    for one in made:
        one.net.run(half * DT)
    made[1].net.load_state_dict(made[0].net.state_dict())
    for one in made:
        one.net.run(half * DT)
    assert np.array_equal(*(one.projection.weights() for one in made))


def test_nearest_pairs_add_up(pairing: Any) -> None:
    rule = PairSTDP(w_max=10.0, rate=1e-3, mu_plus=0.0, mu_minus=0.0, pairs="nearest")
    found = run(pairing, rule, PRE, POST, weight=5.0)
    for j, pre in enumerate(PRE):
        for i, post in enumerate(POST):
            lag = (post + DELAY)[:, None] - pre[None]
            grown = kernel(lag, 20.0).max(1).sum() - kernel(-lag, 20.0).max(0).sum()
            np.testing.assert_allclose(found[j, i], 5.0 + 1e-2 * grown, **EXACT)


def test_triplets_add_up(pairing: Any) -> None:
    rule = TripletSTDP(w_max=2.0, a2_plus=1e-5, a3_plus=2e-5, a2_minus=3e-5, a3_minus=1e-5)
    found = run(pairing, rule, PRE, POST, weight=1.0)
    for j, pre in enumerate(PRE):
        for i, post in enumerate(POST):
            came = post + DELAY
            lag = came[:, None] - pre[None]
            before_pre = kernel(pre[:, None] - pre[None], 101.0).sum(1)  # r2
            before_post = kernel(came[:, None] - came[None], 125.0).sum(1)  # o2
            up = kernel(lag, 16.8).sum(1) * (1e-5 + 2e-5 * before_post)
            down = kernel(-lag, 33.7).sum(0) * (3e-5 + 1e-5 * before_pre)
            np.testing.assert_allclose(found[j, i], 1.0 + 2.0 * (up.sum() - down.sum()), **EXACT)


def test_triplets_depress_at_low_and_potentiate_at_high_frequency(pairing: Any) -> None:
    """60 pairs at +10 ms and at -10 ms, figure 3 of the paper."""

    def change(hertz: float, lag: int) -> float:
        steps = np.rint(40 + np.arange(60) * 1e3 / hertz / DT).astype(np.int64)
        made = pairing(TripletSTDP(w_max=1.0), [steps], [steps + lag - DELAY])
        made.net.run((int(steps[-1]) + 60) * DT)
        return float(made.projection.weights()[0]) - 0.5

    assert change(50.0, 20) > 0.1
    assert change(50.0, -20) > 0.1
    assert abs(change(0.5, 20)) < 0.02
    assert change(0.5, -20) < -0.1


@pytest.mark.parametrize("tau_fac", [0.0, 1000.0])
def test_resources_are_used_and_recover(pairing: Any, tau_fac: float) -> None:
    rule = TsodyksMarkram(u0=0.2, tau_rec=130.0, tau_fac=tau_fac)
    made = pairing(rule, PRE, POST[:1], weight=[[0.5], [0.25], [0.125]])
    probe = made.net.probe(made.receivers, "v")
    made.net.run(LAST * DT)
    wanted = np.zeros(LAST)
    for pre, w in zip(PRE, (0.5, 0.25, 0.125), strict=True):
        r, u, last = 1.0, 0.0, pre[0]
        for step in pre:
            gap = (step - last) * DT
            r = 1.0 - (1.0 - r) * np.exp(-gap / 130.0)
            u = 0.0 if tau_fac == 0 else u * np.exp(-gap / tau_fac)
            u += 0.2 * (1.0 - u)
            if step + DELAY < LAST:
                wanted[step + DELAY] += w * u * r
            r -= u * r
            last = step
    np.testing.assert_allclose(probe.values[:, 0], wanted, rtol=1e-12, atol=1e-12)
    assert np.array_equal(made.projection.weights(), [0.5, 0.25, 0.125])


def test_depression_alone_reaches_its_closed_form(pairing: Any) -> None:
    rule = TsodyksMarkram(u0=0.5, tau_rec=100.0)
    made = pairing(rule, [np.arange(1, LAST, 10)], POST[:1], weight=1.0)
    probe = made.net.probe(made.receivers, "v")
    made.net.run(LAST * DT)
    left = np.exp(-10 * DT / 100.0)
    steady = (1.0 - left) / (1.0 - 0.5 * left)
    assert probe.values[probe.values > 0][-1] == pytest.approx(0.5 * steady, abs=1e-9)


def test_oja_finds_the_correlated_inputs(pairing: Any) -> None:
    random = np.random.default_rng(3)
    post = np.flatnonzero(random.random(8000) < 0.02) + 4
    free = [np.flatnonzero(random.random(8000) < 0.02) + 1 for _ in range(2)]
    pre = [np.unique(np.append(post - 1, t)) for t in (free[0],)] + [free[1]]
    made = pairing(Oja(w_max=5.0, eta=0.02), pre, [post])
    made.net.run(4010.0)
    w = made.projection.weights()
    assert 0.5 < w[0] < 3.0
    assert w[0] > 1.5 * w[1]


@pytest.mark.parametrize(("hertz", "many"), [(5.0, 600), (60.0, 400)])
def test_bcm_follows_its_sliding_threshold(pairing: Any, hertz: float, many: int) -> None:
    rule = BCM(w_max=1.0, eta=1e-3, rate=20.0, tau=20.0, tau_theta=2000.0)
    post = np.flatnonzero(np.random.default_rng(4).random(many) < hertz * DT * 1e-3) + 2
    pre = post - 1
    made = pairing(rule, [pre], [post])
    theta = y = 0.0
    w, last = 0.5, 0
    for came in post + DELAY:
        gap = (came - last) * DT
        y, theta, last = y * np.exp(-gap / 20.0), theta * np.exp(-gap / 2000.0), came
        x = kernel(came - pre, 20.0).sum()
        w += 1e-3 * x * (y - theta)
        theta += y / (2000.0 * 20.0 * 1e-3)
        y += 1.0
    made.net.run((many + 20) * DT)
    np.testing.assert_allclose(made.projection.weights(), w, **EXACT)


def test_bcm_threshold_is_the_mean_square(pairing: Any) -> None:
    """Below the set rate it lies under the activity, and weights grow; above, they shrink."""
    for period, sign in ((200, 1.0), (40, -1.0)):  # 10 and 50 Hz, about a set rate of 25 Hz
        rule = BCM(w_max=100.0, eta=1e-3, rate=25.0, tau=200.0, tau_theta=400.0)
        post = np.arange(2, 12_000, period)
        made = pairing(rule, [post - 1], [post], weight=50.0)
        made.net.run(4000.0)
        before = made.projection.weights()[0]
        made.net.run(1900.0)
        assert sign * (made.projection.weights()[0] - before) > 0


def test_scaling_is_relative_and_stops_at_its_rate(pairing: Any) -> None:
    pre = [np.arange(1, 8000, 40)] * 2
    rule = HomeostaticScaling(w_max=100.0, eta=0.02, rate=50.0, tau=200.0)
    ends = []
    for period in (80, 40, 20):  # 25, 50 and 100 Hz
        made = pairing(rule, pre, [np.arange(2, 8000, period)], weight=[[1.0], [3.0]])
        made.net.run(2000.0)
        middle = made.projection.weights()
        made.net.run(1900.0)
        w = made.projection.weights()
        assert w[1] / w[0] == pytest.approx(3.0)
        ends.append(float(w[0] / middle[0]))
    assert ends[0] > 1.5
    assert ends[1] == pytest.approx(1.0, abs=0.2)
    assert ends[2] < 0.7


def test_inhibition_holds_the_rate() -> None:
    """Driven far above it, neurons come to the target of their inhibitory synapses."""
    net = Network(dt=0.1, seed=2)
    cells = net.population(LIFExp(t_ref=2.0), 40, name="cells", initial={"v": Normal(-65.0, 5.0)})
    relay = net.spikes(*_poisson(200, 20.0, 8000.0), 200, name="inhibition")
    net.poisson(cells, 4000.0, 60.0)
    rule = VogelsSTDP(w_max=400.0, eta=1.0, rate=10.0)
    projection = net.connect(
        relay, cells, FixedIndegree(100), weight=-0.1, delay=1.0, plasticity=rule
    )
    spikes = net.probe(cells, "spikes")
    net.run(500.0)
    assert spikes.rate > 30.0
    net.run(4500.0)
    spikes = net.probe(cells, "spikes")
    net.run(3000.0)
    assert spikes.rate == pytest.approx(10.0, rel=0.15)
    weights = projection.table()["weight"]
    assert (weights <= 0).all()
    assert weights.mean() < -1.0


def _poisson(count: int, hertz: float, ms: float) -> tuple[NDArray[Any], NDArray[Any]]:
    random = np.random.default_rng(6)
    many = random.poisson(count * hertz * ms * 1e-3)
    return random.uniform(0.0, ms, many), random.integers(0, count, many)


@dataclass(frozen=True)
class Symmetric(Plasticity):
    """A rule of one's own: both orders potentiate, and each spike costs a little."""

    tau: float = 20.0
    rate: float = 0.01
    cost: float = 0.002

    def pre(self) -> dict[str, Trace]:
        return {"x": Trace(self.tau)}

    def post(self) -> dict[str, Trace]:
        return {"y": Trace(self.tau)}

    def on_pre(self, s: Any) -> dict[str, Any]:
        return {"w": s.w + self.rate * s.y - self.cost, "x": s.x + 1.0}

    def on_post(self, s: Any) -> dict[str, Any]:
        return {"w": s.w + self.rate * s.x, "y": s.y + 1.0}


def test_a_rule_of_ones_own(pairing: Any) -> None:
    found = run(pairing, Symmetric(w_max=1e3, w_min=-1e3), PRE, POST)
    for j, pre in enumerate(PRE):
        for i, post in enumerate(POST):
            lag = np.abs((post + DELAY)[:, None] - pre[None])
            wanted = 0.5 + 0.01 * kernel(lag, 20.0).sum() - 0.002 * len(pre)
            np.testing.assert_allclose(found[j, i], wanted, **EXACT)


def test_weights_stay_within_their_bounds_and_keep_their_sign() -> None:
    net = Network(dt=0.5, seed=1)
    cells = net.population(LIFExp(), 50, name="cells")
    net.poisson(cells, 5000.0, 200.0)
    rule = PairSTDP(w_max=2.0, w_min=0.5, rate=0.5, mu_plus=0.0, mu_minus=0.0, alpha=1.2)
    for weight in (1.0, -1.0):
        net.connect(cells, cells, FixedIndegree(20), weight=weight, delay=1.0, plasticity=rule)
    net.run(300.0)
    for projection, sign in zip(net.projections, (1.0, -1.0), strict=True):
        size = sign * projection.table()["weight"]
        assert size.min() == 0.5
        assert size.max() == 2.0


def test_plain_and_plastic_synapses_send_the_same() -> None:
    """A rule that changes nothing leaves the spikes of a network as they are, bit for bit."""
    found = []
    for rule in (None, PairSTDP(w_max=200.0, rate=0.0)):
        net = Network(dt=0.1, seed=3)
        cells = net.population(LIFExp(), 120, name="cells", initial={"v": Normal(-65.0, 5.0)})
        source = net.population(LIFExp(), 30, name="source")
        delay = Normal(1.5, 0.5, low=0.2)
        net.connect(source, cells, FixedIndegree(20), weight=200.0, delay=delay, plasticity=rule)
        net.poisson(source, 4000.0, 100.0)
        spikes, states = net.probe(cells, "spikes"), net.probe(cells, "v")
        net.run(200.0)
        found.append((spikes.steps, spikes.senders, states.values))
    assert len(found[0][0]) > 50
    for plain, plastic in zip(*found, strict=True):
        assert np.array_equal(plain, plastic)


def test_a_zero_delay_is_refused() -> None:
    net = Network(dt=0.1)
    one, two = net.population(LIFExp(), 3), net.population(LIFExp(), 3)
    with pytest.raises(UserError, match="delays must be a step at least"):
        net.connect(one, two, OneToOne(), delay=0.0, plasticity=PairSTDP(w_max=2.0))
