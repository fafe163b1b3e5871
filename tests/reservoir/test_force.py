"""FORCE with the published constants: a smaller network in the suite, the whole one when asked."""

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network.recipes import force
from spikesim.reservoir import RLS, Fit, fitted, train

PERIOD = 200.0


def sine(ms: float) -> float:
    return float(np.sin(2 * np.pi * ms / PERIOD))


def alone(scale: float, before: float, learning: float, after: float, seed: int) -> Fit:
    net = force(scale=scale, seed=seed)
    readout = net.readouts[0]
    net.run(before)
    rule = RLS(readout.weight, gain="published")
    train(net, readout, sine, rule, learning, every=0.8)
    weight = readout.weight.copy()
    net.run(after - 1000.0)
    probe = net.probe(readout, every=0.8)
    net.run(1000.0)
    assert (readout.weight == weight).all()
    return fitted(probe.times, probe.values[:, 0], sine, PERIOD)


def test_a_small_network_goes_on_with_the_sine() -> None:
    found = alone(0.2, 400.0, 2000.0, 2000.0, seed=1)
    assert found.error < 0.25  # 1 is a constant; an untrained network is far above
    assert found.speed == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
def test_the_published_network_goes_on_with_the_sine() -> None:
    """A shorter course than the published one, of 5 s each."""
    found = alone(1.0, 500.0, 2500.0, 2000.0, seed=1)
    assert found.error < 0.15
    assert found.speed == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("cell", "spread"), [("izhikevich", 0.0), ("lif", 1.0), ("theta", 1.0)])
def test_weights_have_the_published_deviation_and_row_means(cell: str, spread: float) -> None:
    net = force(cell=cell, scale=0.25, seed=2)  # type: ignore[arg-type]
    table = net.projections[0].table()
    gain = {"izhikevich": 5e3, "lif": 0.04e3, "theta": 10e3 * np.pi**2}[cell]
    assert table["weight"].std() == pytest.approx(gain / (0.1 * np.sqrt(500)), rel=0.02)
    many = len(table["post"])
    assert many == pytest.approx(0.1 * 500**2, rel=0.05)
    sums = np.bincount(table["post"], table["weight"], 500) / table["weight"].std()
    typical = np.sqrt(many / 500)  # of the sum of so many independent weights
    assert np.abs(sums).mean() == pytest.approx(0.8 * typical * (1 - spread), rel=0.1, abs=1e-4)
    size = {"izhikevich": 5e3, "lif": 10.0, "theta": 1e4 * np.pi**2}[cell]
    back = net.readouts[0].feedback
    assert back is not None
    assert np.abs(back).max() == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("cell", ["izhikevich", "lif", "theta"])
def test_networks_fire_irregularly_untrained(cell: str) -> None:
    net = force(cell=cell, scale=0.25, seed=2)  # type: ignore[arg-type]
    probe = net.probe(net.groups[0], "rate", every=100.0)
    net.run(500.0)
    assert 0 < probe.values[-1] < 100


def test_wrong_training_is_refused() -> None:
    net = force(scale=0.01)
    readout = net.readouts[0]
    with pytest.raises(UserError, match="the rule changes other weights"):
        train(net, readout, sine, RLS(readout.weight.copy()), 8.0, every=0.8)
    with pytest.raises(UserError, match="ms must be a multiple"):
        train(net, readout, sine, RLS(readout.weight), 1.0, every=0.8)
    with pytest.raises(UserError, match="every must be > 0 and ms >= 0"):
        train(net, readout, sine, RLS(readout.weight), 8.0, every=0.0)
    with pytest.raises(UserError, match="'readout of cells' is not of this network"):
        train(force(scale=0.01), readout, sine, RLS(readout.weight), 8.0, every=0.8)
    with pytest.raises(UserError, match="p must be > 0"):
        force(scale=0.01, p=0.0)
    with pytest.raises(UserError, match="outputs must be a whole number >= 1, got -1"):
        force(scale=0.01, outputs=-1)
    with pytest.raises(UserError, match="cell must be one of"):
        force(cell="other")  # type: ignore[arg-type]


def test_a_fit_finds_phase_and_speed_and_leaves_noise() -> None:
    t, random = np.arange(0.0, 1000.0, 1.0), np.random.default_rng(0)
    wave = np.array([sine(0.97 * ms + 130.0) for ms in t])
    found = fitted(t, wave + 0.1 * random.standard_normal(len(t)), sine, PERIOD)
    assert found.error == pytest.approx(0.1 / np.sqrt(0.5), rel=0.1)
    assert found.speed == pytest.approx(0.97, abs=0.003)
    assert found.shift == pytest.approx(130.0, abs=3.0)
    # Silence is as far off as the target is wide, however it is stretched.
    assert fitted(t, 0.0 * wave, sine, PERIOD).error == pytest.approx(1.0, abs=0.03)
