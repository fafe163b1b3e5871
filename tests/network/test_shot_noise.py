"""Neurons under constant and random drive, against closed forms: rates, means and variances."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from spikesim.network import Network, SpikeProbe
from spikesim.neurons import LIFAlpha, LIFDelta, LIFExp
from spikesim.neurons.linear_lif import LinearLIF

TAU_M, TAU_EX, TAU_IN, C_M, REST = 10.0, 2.0, 5.0, 250.0, -70.0
SIGMAS = 4.0
"""Of an estimate: the seed is fixed, so that these fail never or always."""
KINDS = pytest.mark.parametrize("kind", [LIFDelta, LIFExp, LIFAlpha])


def moments(kind: type[LinearLIF], tau_s: float) -> tuple[float, float]:
    """Integrals of the response to a weight of 1, and of its square: mV ms, mV^2 ms."""
    a, b, c = 1 / TAU_M, 1 / tau_s, C_M
    if kind is LIFDelta:
        return 1 / a, 1 / (2 * a)
    if kind is LIFExp:
        return 1 / (a * b * c), 1 / (2 * a * b * (a + b) * c**2)
    # The transfer function is e b / (s + a)(s + b)^2: the integral of its square by residues.
    d0, d1, d2 = a * b**2, b**2 + 2 * a * b, a + 2 * b
    return math.e * b / (d0 * c), (math.e * b / c) ** 2 * d2 / (2 * d0 * (d1 * d2 - d0))


@KINDS
def test_mean_and_variance_under_poisson_spikes_are_campbells(kind: type[LinearLIF]) -> None:
    dt, size, every, count = 0.1, 3000, 25.0, 12
    is_delta = kind is LIFDelta
    synapses = {} if is_delta else {"tau_ex": TAU_EX, "tau_in": TAU_IN}
    neuron = kind(tau_m=TAU_M, c_m=C_M, e_l=REST, v_threshold=1e3, **synapses)
    drives = [(8000.0, 0.15 if is_delta else 30.0), (3000.0, -0.2 if is_delta else -25.0)]
    net = Network(dt=dt, seed=4)
    cells = net.population(neuron, size)
    mean, variance = REST, 0.0
    for (rate, weight), tau in zip(drives, (TAU_EX, TAU_IN), strict=True):
        net.poisson(cells, rate, weight)
        once, squared = moments(kind, tau)
        mean += 1e-3 * rate * weight * once
        variance += 1e-3 * rate * weight**2 * squared
    probe = net.probe(cells, "v", every=every)
    net.run(100.0 + count * every)
    # Samples are two and a half time constants apart: correlated by a few per cent.
    v = probe.values[-count:].astype(np.float64)
    # A step gathers its spikes at its end.
    grid = dt / TAU_M
    error = SIGMAS * math.sqrt(variance / v.size)
    assert v.mean() == pytest.approx(mean, abs=error + grid * abs(mean - REST))
    assert v.var() == pytest.approx(variance, rel=SIGMAS * math.sqrt(2 / v.size) + grid)
    assert variance > 0.2


def test_variance_under_white_noise_is_that_of_its_recursion() -> None:
    """v of a step is ``left`` times the last, plus what the noise of a step gives."""
    dt, size, std, count = 0.5, 3000, 200.0, 12
    net = Network(dt=dt, seed=1)
    cells = net.population(LIFDelta(tau_m=TAU_M, c_m=C_M, e_l=REST, v_threshold=1e3), size)
    net.noise(cells, 100.0, std)
    probe = net.probe(cells, "v")
    net.run(100.0 + count * 25.0)
    left = math.exp(-dt / TAU_M)
    gain = TAU_M / C_M * (1 - left)
    variance = (gain * std) ** 2 / (1 - left**2)
    v = probe.values[-1 :: -round(25.0 / dt)][:count].astype(np.float64)
    assert v.mean() == pytest.approx(
        REST + 100.0 * TAU_M / C_M, abs=SIGMAS * math.sqrt(variance / v.size)
    )
    assert v.var() == pytest.approx(variance, rel=SIGMAS * math.sqrt(2 / v.size))
    later = probe.values[-5].astype(np.float64)
    correlation = np.corrcoef(probe.values[-1], later)[0, 1]
    assert correlation == pytest.approx(left**4, abs=SIGMAS * (1 - left**8) / math.sqrt(size))


def intervals(probe: SpikeProbe, size: int) -> list[np.ndarray]:
    order = np.argsort(probe.senders, kind="stable")
    parts = np.searchsorted(probe.senders[order], np.arange(1, size))
    return [np.diff(steps) for steps in np.split(probe.steps[order], parts)]


@KINDS
@pytest.mark.parametrize(("dtype", "slack"), [("float64", 0), ("float32", 1)])
def test_constant_currents_give_the_curve_of_rates(
    kind: Callable[..., LinearLIF], dtype: str, slack: int
) -> None:
    """T = t_ref + tau ln((R I + E - v_reset) / (R I + E - theta)), rounded up to the step."""
    dt, reset, threshold, refractory = 0.1, -65.0, -55.0, 2.0
    rheobase = (threshold - REST) * C_M / TAU_M
    currents = np.concatenate([[0.5, 0.99], np.linspace(1.02, 8.0, 60)]) * rheobase
    net = Network(dt=dt, dtype=dtype)  # type: ignore[arg-type]
    neuron = kind(
        tau_m=TAU_M, c_m=C_M, e_l=REST, v_threshold=threshold, v_reset=reset, t_ref=refractory
    )
    cells = net.population(neuron, len(currents))
    net.current(cells, currents)
    probe = net.probe(cells, "spikes")
    net.run(300.0)
    found = intervals(probe, len(currents))
    assert not set(probe.senders.tolist()) & {0, 1}
    drive = currents * TAU_M / C_M
    for gaps, above in zip(found[2:], drive[2:], strict=True):
        rise = TAU_M * math.log((above + REST - reset) / (above + REST - threshold))
        expected = math.ceil(rise / dt) + round(refractory / dt)
        assert len(gaps) >= 300.0 / (expected * dt) - 3
        assert np.abs(gaps - expected).max() <= slack
