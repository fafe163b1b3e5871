"""e-prop against a loop over all steps and synapses, and against backpropagation through time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikesim.network import AllToAll, Network
from spikesim.network.plasticity import EProp
from spikesim.network.projection import Projection
from spikesim.neuron import Neuron
from spikesim.neurons import ALIF, CUBALIF, LI, LIF, LIFDelta, LIFExp
from spikesim.surrogate import ATan, Triangle

SENDERS, RECEIVERS, STEPS = 7, 9, 600
Array = NDArray[np.float64]

NEURONS: dict[str, Neuron] = {
    "soft": LIF(20.0, leak="exact", v_reset=None),
    "hard": LIF(20.0, leak="exact"),
    "adaptive": ALIF(20.0, 50.0, beta=0.5),
}
ETA, TAU_E, DAMPING, BOUND = 0.3, 30.0, 0.3, 7.0
rng = np.random.default_rng(5)
SIGNALS = rng.normal(size=RECEIVERS)
WEIGHTS = np.clip(rng.normal(2.0, 5.0, (SENDERS, RECEIVERS)), 0.05 - BOUND, BOUND - 0.05)


def signal(t: int) -> Array:
    return SIGNALS * np.sin(t / 17.0)


def common(t: int) -> Array:
    return np.array(np.cos(t / 13.0))


def spikes(rate: float) -> Array:
    """``[steps, senders]``; one sender spikes once, long before the others end."""
    found = (np.random.default_rng(1).random((STEPS, SENDERS)) < rate).astype(float)
    found[:, 2] = np.arange(STEPS) == 5
    return found


def loop(
    kind: str, z: Array, delays: Array, level: Callable[[int], Array], every: int
) -> tuple[Array, Array]:
    """Weights before each step that is sent, and all spikes: O(steps x synapses)."""
    k, k_a, kappa = 1 - np.exp(-1 / 20.0), 1 - np.exp(-1 / 50.0), np.exp(-1 / TAU_E)
    w = WEIGHTS.copy()
    zbar, eps, ebar, sums = (np.zeros_like(w) for _ in range(4))
    v, a, s = (np.zeros(RECEIVERS) for _ in range(3))
    found, after = np.zeros((STEPS, RECEIVERS)), np.zeros((STEPS + 1, *w.shape))
    after[0] = w
    i, j = np.indices(w.shape)
    for t in range(STEPS):
        then = t - delays
        arrives = np.where(then >= 0, z[then, i], 0.0)
        x = (arrives * after[np.maximum(then - delays.min() + 1, 0), i, j]).sum(0)
        u = v + (x - v) * k
        zbar = (1 - k) * zbar + k * arrives
        excess = u - 1.0
        if kind == "adaptive":
            u = u - s
            a = a + (s - a) * k_a
            excess = u - (1.0 + 0.5 * a)
        s = (excess >= 0).astype(float)
        psi = DAMPING * np.maximum(1.0 - abs(excess), 0.0)
        e = psi * (zbar - 0.5 * eps) if kind == "adaptive" else psi * zbar
        eps = (1 - k_a) * eps + k_a * e
        v = {"soft": u - s, "hard": (1 - s) * u, "adaptive": u}[kind]
        if kind == "hard":
            zbar = zbar * (1 - s)
        ebar = kappa * ebar + e
        sums = sums - ETA * level(t) * ebar
        if (t + 1) % every == 0:
            w, sums = np.clip(w + sums, -BOUND, BOUND), np.zeros_like(w)
        after[t + 1], found[t] = w, s
    return after, found


def made(
    kind: str,
    z: Array,
    delays: Array,
    level: Callable[[int], Array],
    every: int,
    threads: int = 1,
    dtype: Any = "float64",
) -> tuple[Network, Projection]:
    net = Network(dt=1.0, dtype=dtype, threads=threads)
    step, who = np.nonzero(z)
    senders = net.spikes(step + 0.5, who, SENDERS, name="senders")
    cells = net.population(NEURONS[kind], RECEIVERS, name="cells")
    own = cells if level is signal else None
    error = net.modulator(lambda ms: level(round(ms)), post=own)
    rule = EProp(
        w_max=BOUND,
        w_min=-BOUND,
        eta=ETA,
        tau_e=TAU_E,
        surrogate=Triangle(1.0),
        damping=DAMPING,
        every=float(every),
    )
    projection = net.connect(
        senders,
        cells,
        AllToAll(),
        weight=WEIGHTS.reshape(-1),
        delay=delays.reshape(-1).astype(float),
        plasticity=rule,
        modulator=error,
    )
    return net, projection


DELAYS = {
    "1": np.ones((SENDERS, RECEIVERS), int),
    "3": np.full((SENDERS, RECEIVERS), 3),
    "2 to 40": np.random.default_rng(2).choice([2, 3, 9, 40], (SENDERS, RECEIVERS)),
}


@pytest.mark.parametrize(
    ("kind", "delay", "every", "level", "rate", "threads"),
    [
        ("soft", "1", 1, signal, 0.06, 1),
        ("hard", "3", 50, common, 0.06, 2),
        ("hard", "2 to 40", 7, signal, 0.01, 1),
        ("adaptive", "2 to 40", 1, common, 0.06, 2),
        ("adaptive", "1", 1, signal, 0.06, 1),
    ],
)
def test_as_a_loop_over_all_steps(
    kind: str, delay: str, every: int, level: Callable[[int], Array], rate: float, threads: int
) -> None:
    z, delays = spikes(rate), DELAYS[delay]
    net, projection = made(kind, z, delays, level, every, threads)
    probe = net.probe(net.groups[1], "spikes")
    weights = net.probe(projection, "weight", synapses=[3, 20, 60], every=50.0)
    for part in (100.0, 333.0, STEPS - 433.0):
        net.run(part)
    after, fired = loop(kind, z, delays, level, every)
    found = np.zeros_like(fired)
    found[probe.steps, probe.senders] = 1.0
    assert np.array_equal(found, fired)
    assert rate < 0.05 or fired.sum() > 50
    wanted = after[STEPS + 1 - delays.min()]
    assert abs(wanted - WEIGHTS).max() > 0.3
    assert rate < 0.05 or (abs(after) == BOUND).any()
    found = projection.table()["weight"].reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    seen = [after[n + 1 - delays.min()].reshape(-1)[[3, 20, 60]] for n in range(50, STEPS + 1, 50)]
    np.testing.assert_allclose(weights.values, seen, rtol=1e-12, atol=1e-12)


def test_float32_follows_float64() -> None:
    z, delays = spikes(0.06), DELAYS["2 to 40"]
    found = []
    for dtype in ("float64", "float32"):
        net, projection = made("adaptive", z, delays, signal, 50, dtype=dtype)
        net.run(STEPS)
        found.append(projection.table()["weight"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-4)


RAMP = torch.linspace(0.5, 2.0, RECEIVERS, dtype=torch.float64)
# Of each model: neuron, receptor, and the size of weights that makes it fire now and then.
LAYERS: dict[str, tuple[Neuron, str, float]] = {
    "LIF": (LIF(20.0 * RAMP, leak="exact", detach_reset=True), "x", 6.0),
    # After 84 steps nothing is left of a spike, and dropped.
    "LIF, fast": (LIF(2.0, leak="exact", v_reset=-0.1, detach_reset=True), "x", 2.0),
    "LIF soft": (LIF(8.0, v_reset=None, decay_input=False, detach_reset=True), "x", 0.7),
    "LIF refractory": (LIF(8.0, v_reset=-0.5, refractory=3.0, detach_reset=True), "x", 5.0),
    "ALIF": (ALIF(20.0, 90.0 * RAMP, beta=RAMP, detach_reset=True), "x", 7.0),
    "ALIF refractory": (
        ALIF(9.0, 30.0, 1.5, normalize=False, refractory=4.0, detach_reset=True),
        "x",
        9.0,
    ),
    "CUBALIF": (CUBALIF(10.0, 4.0, detach_reset=True), "x", 4.0),
    "LIFDelta": (LIFDelta(detach_reset=True, surrogate=Triangle(10.0)), "delta", 8.0),
    "LIFDelta, current": (LIFDelta(detach_reset=True, surrogate=ATan(0.1)), "current", 2e3),
    "LIFExp": (LIFExp(tau_ex=2.0 * RAMP, detach_reset=True), "excitatory", 900.0),
    "LIFExp, inhibitory": (
        LIFExp(tau_in=10.0, detach_reset=True, surrogate=ATan(0.1)),
        "inhibitory",
        300.0,
    ),
    "LIFExp, current": (LIFExp(detach_reset=True, surrogate=ATan(0.1)), "current", 2e3),
    "LI": (LI(20.0, leak="exact"), "x", 1.0),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("tau_e", [0.0, 12.0])
def test_the_gradient_of_a_layer_is_that_of_backpropagation(name: str, tau_e: float) -> None:
    """Without recurrence e-prop leaves nothing out; the loss is linear in (filtered) spikes."""
    neuron, receptor, size = LAYERS[name]
    z, steps, delay, dt = spikes(0.1), 300, 2, 1.0
    weights = np.random.default_rng(3).normal(0.2 * size, size, (SENDERS, RECEIVERS))
    net = Network(dt=dt, dtype="float64")
    step, who = np.nonzero(z[:steps])
    senders = net.spikes(step + 0.5, who, SENDERS)
    cells = net.population(neuron, RECEIVERS)
    error = net.modulator(lambda ms: signal(round(ms)), post=cells)
    eta = 1e-3 * size
    rule = EProp(w_max=1e6, w_min=-1e6, eta=eta, tau_e=tau_e, every=float(steps))
    projection = net.connect(
        senders,
        cells,
        AllToAll(),
        weight=weights.reshape(-1),
        delay=delay * dt,
        receptor=receptor,
        plasticity=rule,
        modulator=error,
    )
    net.run((steps + delay - 1) * dt)
    found = (weights - projection.table()["weight"].reshape(weights.shape)) / eta

    w = torch.tensor(weights, requires_grad=True)
    x = torch.zeros(steps, 1, RECEIVERS, dtype=torch.float64)
    x[delay:, 0] = torch.tensor(z[: steps - delay]) @ w
    inputs = {other: torch.zeros_like(x) for other in neuron.inputs} | {receptor: x}
    neuron.backend = "torch"
    out = neuron(inputs)[:, 0]
    assert int((out > 0).sum()) > 20
    levels = torch.tensor(np.array([signal(t) for t in range(steps)]))
    kappa = np.exp(-dt / tau_e) if tau_e else 0.0
    filtered, loss = torch.zeros(RECEIVERS, dtype=torch.float64), torch.zeros(())
    for s, level in zip(out, levels, strict=True):
        filtered = kappa * filtered + s
        loss = loss + (level * filtered).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    wanted = w.grad.numpy()
    assert abs(wanted).max() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * abs(wanted).max())


def test_rates_are_brought_to_their_target() -> None:
    """No other error: weights onto silent cells grow, those onto busy ones shrink."""
    net = Network(dt=1.0, seed=2)
    random = np.random.default_rng(2)
    step, who = np.nonzero(random.random((20_000, 40)) < 0.03)
    senders = net.spikes(step + 0.5, who, 40)
    cells = net.population(LIF(20.0, leak="exact", v_reset=None), 2, name="cells")
    strong = np.tile([0.2, 1.6], 40)
    rule = EProp(w_max=5.0, w_min=-5.0, eta=2e-4, surrogate=Triangle(1.0), rate=20.0, c_rate=0.1)
    nothing = net.modulator(0.0)
    net.connect(senders, cells, AllToAll(), weight=strong, plasticity=rule, modulator=nothing)
    rates = net.probe(cells, "rate", neurons=[0], every=2000.0)
    others = net.probe(cells, "rate", neurons=[1], every=2000.0)
    net.run(20_000.0)
    assert rates.values[0] < 5.0 < 50.0 < others.values[0]
    assert abs(rates.values[-1] - 20.0) < 6.0
    assert abs(others.values[-1] - 20.0) < 6.0
