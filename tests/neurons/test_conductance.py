"""Neurons with receptors, against an adaptive integrator of high order."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from spikesim.errors import UserError
from spikesim.neuron import Neuron
from spikesim.neurons import EIF, AdEx, LIFCondExp
from spikesim.neurons.receptor import Receptor

integrate = pytest.importorskip("scipy.integrate", reason="needs SciPy")

STEPS = 800
SCHEMES = pytest.mark.parametrize("scheme", ["exponential_euler", "rk4"])
IN_TORCH = pytest.mark.usefixtures("in_torch")
EVERY = pytest.mark.parametrize("make", [LIFCondExp, EIF, AdEx])


@pytest.fixture
def in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred steps take less time than to compile them."""
    monkeypatch.setattr(Neuron, "backend", "torch")


def inputs(neuron: Neuron, count: int, columns: int = 1, **given: float) -> dict[str, Tensor]:
    x = {name: torch.zeros(count, 1, columns, dtype=torch.float64) for name in neuron.inputs}
    for name, value in given.items():
        x[name] += value
    return x


def barrage(neuron: Neuron, duration: float, size: float) -> dict[str, Tensor]:
    """Spikes at whole ms on both receptors."""
    draw = np.random.default_rng(11)
    each = round(1.0 / neuron.dt)
    x = inputs(neuron, round(duration / neuron.dt), current=-20.0)
    for name in ("excitatory", "inhibitory"):
        values = draw.random(int(duration) - 1) * size
        for t, value in enumerate(values, start=1):
            x[name][t * each - 1] = value
    return x


def exact(neuron: Neuron, x: Mapping[str, Tensor], duration: float) -> np.ndarray:
    """``v`` at whole ms by an eighth-order method, restarted at each spike."""
    get = lambda name: float(getattr(neuron, name, 0.0))  # noqa: E731
    c, gl, el, a, tau_w = (get(name) for name in ("c_m", "g_l", "e_l", "a", "tau_w"))
    vt, delta = get("v_t"), get("delta_t")
    each = round(1.0 / neuron.dt)
    current = float(x["current"][0, 0, 0])

    def slope(t: float, y: np.ndarray) -> list[float]:
        v, w, ge, gi = y
        spike = gl * delta * math.exp((v - vt) / delta) if delta else 0.0
        flow = gl * (el - v) + spike - w + ge * (0.0 - v) + gi * (-80.0 - v) + current
        dw = (a * (v - el) - w) / tau_w if tau_w else 0.0
        return [flow / c, dw, -ge / 5.0, -gi / 10.0]

    y, found = np.array([el, 0.0, 0.0, 0.0]), []
    for t in range(int(duration)):
        done = integrate.solve_ivp(slope, (0, 1), y, method="DOP853", rtol=1e-12, atol=1e-12)
        y = done.y[:, -1]
        last = (t + 1) * each - 1
        y[2] += abs(float(x["excitatory"][last, 0, 0]))
        y[3] += abs(float(x["inhibitory"][last, 0, 0]))
        found.append(y[0])
    return np.array(found)


@IN_TORCH
@EVERY
def test_schemes_converge_to_the_exact_membrane_with_their_order(
    make: Callable[..., Neuron],
) -> None:
    neuron = make(dt=0.5)
    expected = exact(neuron, barrage(neuron, 30.0, 3.0), 30.0)
    assert np.ptp(expected) > 2.0
    errors: dict[str, list[float]] = {"exponential_euler": [], "rk4": []}
    for scheme, found in errors.items():
        for dt in (0.5, 0.25, 0.125):
            neuron = make(dt=dt, scheme=scheme)
            v = neuron.trace(barrage(neuron, 30.0, 3.0))["v"].flatten().numpy()
            v = v[round(1 / dt) - 1 :: round(1 / dt)]
            found.append(np.abs(v - expected).max())
    order = {name: math.log2(found[1] / found[2]) for name, found in errors.items()}
    # The exponential of a spike is held in a step: of first order, where it counts.
    assert order["exponential_euler"] >= (1.9 if make is LIFCondExp else 1.0)
    assert order["rk4"] == pytest.approx(4.0, abs=0.3)
    assert errors["rk4"][2] <= 1e-6


@SCHEMES
def test_a_held_conductance_pulls_to_the_weighted_mean(scheme: str) -> None:
    """A conductance that does not decay: v goes to sum(g e) / sum(g), exponentially."""
    neuron = LIFCondExp(tau_ex=1e12, tau_in=1e12, v_threshold=100.0, scheme=scheme, dt=0.1)
    x = inputs(neuron, STEPS)
    x["excitatory"][0], x["inhibitory"][0] = 4.0, 6.0
    v = neuron.trace(x)["v"].flatten()
    rest = (10.0 * -60.0 + 6.0 * -80.0) / 20.0
    t = 0.1 * torch.arange(STEPS, dtype=torch.float64)
    expected = rest + (-60.0 - rest) * torch.exp(-t * 20.0 / 200.0)
    assert (v - expected).abs().max() <= (1e-9 if scheme != "rk4" else 1e-7)


@IN_TORCH
@SCHEMES
@EVERY
def test_weights_of_conductances_count_by_their_size(
    make: Callable[..., Neuron], scheme: str
) -> None:
    neuron = make(dt=0.1, scheme=scheme)
    x = barrage(neuron, 40.0, 10.0)
    turned = {**x, "inhibitory": -x["inhibitory"]}
    assert torch.equal(neuron.trace(turned)["v"], neuron.trace(x)["v"])
    currents = make(dt=0.1, scheme=scheme, e_ex=None, e_in=None)
    assert {"i_ex", "i_in"} < set(currents.states)
    rows, other = currents.trace(x), currents.trace(turned)
    assert torch.equal(rows["i_in"], -other["i_in"])
    assert (rows["v"][50:] > other["v"][50:]).all()


@IN_TORCH
@SCHEMES
@EVERY
def test_a_receptor_more_is_the_same_by_another_name(
    make: Callable[..., Neuron], scheme: str
) -> None:
    more = {"nmda": Receptor(5.0, 0.0), "direct": Receptor(10.0)}
    neuron = make(dt=0.1, scheme=scheme, receptors=more)
    assert neuron.inputs == ("excitatory", "inhibitory", "nmda", "direct", "current")
    assert {"g_nmda", "i_direct"} < set(neuron.states)
    x = barrage(neuron, 40.0, 10.0)
    moved = {**x, "nmda": x["excitatory"], "excitatory": x["nmda"]}
    rows, other = neuron.trace(x), neuron.trace(moved)
    # Sums of another order.
    assert torch.allclose(rows["v"], other["v"], rtol=0, atol=1e-9)
    assert torch.equal(rows["g_ex"], other["g_nmda"])
    x["direct"][30] = 40.0
    assert torch.equal(neuron.trace(x)["v"][:31], rows["v"][:31])
    assert (neuron.trace(x)["v"][32:80] > rows["v"][32:80]).all()


@EVERY
def test_an_unknown_scheme_is_refused(make: Callable[..., Neuron]) -> None:
    with pytest.raises(UserError, match="scheme must be 'exponential_euler' or 'rk4', got 'euler'"):
        make(scheme="euler")
    with pytest.raises(UserError, match=r"tau_ex must be > 0, got 0.0"):
        make(tau_ex=0.0)
    with pytest.raises(UserError, match=r"tau_nmda must be > 0, got -1.0"):
        make(receptors={"nmda": Receptor(-1.0, 0.0)})
    with pytest.raises(UserError, match=r"receptors\['nmda'\] must be a Receptor.*got 100.0"):
        make(receptors={"nmda": 100.0})


@SCHEMES
@pytest.mark.parametrize("current", [200.0, 300.0, 500.0])
def test_exponential_neuron_fires_with_the_period_of_its_integral(
    scheme: str, current: float
) -> None:
    """T = t_ref + the integral of C dv / f(v) from the reset to the peak."""
    dt = 0.01
    neuron = EIF(dt=dt, scheme=scheme)

    def per_mv(v: float) -> float:
        return 250.0 / (12.5 * (-65.0 - v) + 25.0 * math.exp((v + 50.0) / 2.0) + current)

    period = 2.0 + integrate.quad(per_mv, -65.0, 0.0, limit=500)[0]
    spikes = neuron(inputs(neuron, 60_000, current=current)).flatten().nonzero().flatten()
    gaps = spikes.diff().double() * dt
    assert len(gaps) > 6
    # The upstroke ends with a step, or with some of them where the scheme is of first order.
    assert 0.0 <= gaps.mean().item() - period <= (2.0 if scheme == "rk4" else 7.0) * dt


@IN_TORCH
def test_refractory_membrane_waits_and_adaptation_goes_on() -> None:
    for scheme in ("exponential_euler", "rk4"):
        neuron = AdEx(t_ref=1.0, scheme=scheme, dt=0.1)
        rows = neuron.trace(inputs(neuron, 400, current=1000.0))
        v, w = rows["v"].flatten(), rows["w"].flatten()
        first = int(rows["output"].flatten().nonzero()[0])
        assert v[first : first + 11].tolist() == [-70.6] * 11
        assert v[first + 11] > -70.6
        # At rest w forgets, with its own time constant.
        ratio = w[first + 1 : first + 11] / w[first : first + 10]
        assert torch.allclose(ratio, torch.full_like(ratio, math.exp(-0.1 / 144.0)), rtol=1e-9)
        assert w[first] - w[first - 1] > 80.0


# Naud et al. (2008): C, g_l, e_l, a, tau_w, b, v_reset, current; V_T -50, Delta 2, peak 0.
NAUD = {
    "tonic": (200, 10, -70, 2, 30, 0, -58, 500),
    "adapting": (200, 12, -70, 2, 300, 60, -58, 500),
    "initial burst": (130, 18, -58, 4, 150, 120, -50, 400),
    "bursting": (200, 10, -58, 2, 120, 100, -46, 210),
    "accelerating": (200, 12, -70, -10, 300, 0, -58, 300),
    "delayed bursting": (100, 10, -65, -10, 90, 30, -47, 110),
    "transient": (100, 10, -65, 10, 90, 100, -47, 180),
    "irregular": (100, 12, -60, -11, 130, 30, -48, 160),
}


def naud(name: str, **options: object) -> AdEx:
    c, gl, el, a, tau_w, b, reset, current = map(float, NAUD[name])
    cell = (c, gl, el, -50.0, 2.0, a, b, tau_w, 0.0, reset)
    return AdEx(*cell, i_e=current, **options)


def reference_times(name: str, duration: float) -> np.ndarray:
    """Spikes by an eighth-order method that stops at -20 mV, 1e-5 ms before the peak."""
    c, gl, el, a, tau_w, b, reset, current = map(float, NAUD[name])

    def slope(t: float, y: np.ndarray) -> list[float]:
        flow = gl * (el - y[0]) + gl * 2.0 * math.exp((min(y[0], -20.0) + 50.0) / 2.0) - y[1]
        return [(flow + current) / c, (a * (y[0] - el) - y[1]) / tau_w]

    def peak(t: float, y: np.ndarray) -> float:
        return y[0] + 20.0

    peak.terminal = True
    t, y, times = 0.0, np.array([el, 0.0]), []
    while t < duration:
        done = integrate.solve_ivp(
            slope, (t, duration), y, method="DOP853", rtol=1e-10, atol=1e-10, events=peak
        )
        t = done.t[-1]
        if done.status == 1:
            times.append(t)
            y = np.array([reset, done.y[1, -1] + b])
    return np.array(times)


def times(neuron: Neuron, duration: float) -> np.ndarray:
    spikes = neuron(inputs(neuron, round(duration / neuron.dt))).flatten()
    return (spikes.nonzero().flatten().numpy() + 1) * neuron.dt


@pytest.mark.parametrize("name", NAUD)
def test_kind_of_firing_has_the_spikes_of_an_adaptive_integrator(name: str) -> None:
    """The first spike ends two steps late at most; irregular firing is chaotic from then on."""
    dt, duration = 0.01, 60.0 if name == "irregular" else 200.0
    expected = reference_times(name, duration)
    ours = times(naud(name, scheme="rk4", dt=dt), duration)
    assert len(ours) == len(expected) >= 1
    assert 0 <= ours[0] - expected[0] <= 2 * dt
    assert np.abs(ours - expected).max() <= 0.5


def test_kinds_of_firing_are_what_their_names_say() -> None:
    gaps = {name: np.diff(times(naud(name, scheme="rk4", dt=0.02), 800.0)) for name in NAUD}
    assert np.ptp(gaps["tonic"][10:]) <= 0.1
    assert gaps["adapting"][-1] > 2 * gaps["adapting"][0]
    assert gaps["accelerating"][-1] < 0.8 * gaps["accelerating"][0]
    assert gaps["initial burst"][:2].max() * 3 < gaps["initial burst"][-3:].min()
    assert gaps["bursting"].max() > 4 * gaps["bursting"].min()
    assert len(gaps["transient"]) < 10
    irregular = gaps["irregular"]
    assert irregular.std() / irregular.mean() > 0.2


def test_exponential_euler_agrees_with_runge_kutta_on_the_counts() -> None:
    for name in ("tonic", "adapting", "accelerating", "initial burst"):
        counts = [
            len(times(naud(name, scheme=scheme, dt=0.02), 500.0))
            for scheme in ("exponential_euler", "rk4")
        ]
        assert abs(counts[0] - counts[1]) <= 1
