"""Runs: ten lines, divided and continued, probed and not, by one thread and by two."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from host_cuda import run_on_host
from torch import Tensor

from spikesim.network import (
    FixedIndegree,
    FixedProbability,
    Network,
    Normal,
    SpikeProbe,
    Uniform,
    correlation,
    cv_isi,
    rates,
)
from spikesim.neuron import Neuron
from spikesim.neurons import Izhikevich, LIFDelta, LIFExp
from spikesim.ops import bernoulli
from spikesim.types import Named


def balanced(seed: int = 1, *, threads: int = 1, dtype: str = "float32") -> Network:
    """Two populations with drawn weights and delays, noise, Poisson drive, and given spikes."""
    net = Network(dt=0.1, seed=seed, threads=threads, dtype=dtype)  # type: ignore[arg-type]
    exc = net.population(LIFExp(), 203, name="exc", initial={"v": Uniform(-70.0, -55.0)})
    inh = net.population(LIFDelta(), 61, name="inh")
    given = net.spikes(np.arange(1, 100) * 0.7, np.arange(99) % 5, 5, name="given")
    weights, delays = Normal(mean=0.5, std=0.1, low=0.0), Normal(mean=1.5, std=0.7, low=0.1)
    net.connect(exc, inh, FixedProbability(0.1), weight=weights, delay=1.5)
    net.connect(inh, exc, FixedIndegree(6), weight=-80.0, delay=delays)
    net.connect(given, exc, FixedProbability(0.3), weight=200.0, delay=0.4)
    net.poisson(exc, 8000.0, 45.0)
    net.poisson(inh, lambda ms: 3000.0 + 2000.0 * np.sin(ms), 0.4, largest=5000.0, every=0.7)
    net.noise(exc, 20.0, np.linspace(0.0, 300.0, 203))
    net.current(inh, lambda ms: np.full(61, 100.0 * np.cos(ms)), largest=100.0, every=1.1)
    return net


def spikes(net: Network) -> list[SpikeProbe]:
    return [net.probe(group, "spikes") for group in net.groups]


def trains(probes: list[SpikeProbe]) -> list[tuple[int, int, int]]:
    return [
        (g, step, sender)
        for g, probe in enumerate(probes)
        for step, sender in zip(probe.steps.tolist(), probe.senders.tolist(), strict=True)
    ]


def test_ten_lines_of_a_balanced_network_fire_irregularly() -> None:
    net = Network(dt=0.1, seed=5)
    neuron = LIFDelta(tau_m=20.0, e_l=0.0, v_reset=10.0, v_threshold=20.0)
    exc, inh = net.population(neuron, 800, name="E"), net.population(neuron, 200, name="I")
    for post in (exc, inh):
        net.connect(exc, post, FixedIndegree(80), weight=0.5, delay=1.5)
        net.connect(inh, post, FixedIndegree(20), weight=-3.0, delay=1.5)
        net.poisson(post, rate=4000.0, weight=0.5)
    probe = net.probe(exc, "spikes")
    net.run(500.0)
    assert 5.0 < probe.rate < 60.0
    assert abs(rates(probe).mean() - probe.rate) < 1e-9
    assert 0.3 < np.nanmean(cv_isi(probe)) < 1.2
    some = net.probe(exc, "spikes", neurons=np.arange(50))
    net.run(500.0)
    assert abs(correlation(some).mean()) < 0.2


@pytest.fixture(scope="module")
def whole() -> list[tuple[int, int, int]]:
    net = balanced()
    probes = spikes(net)
    net.run(60.0)
    found = trains(probes)
    assert {g for g, *_ in found} == {0, 1, 2}
    assert len(found) > 300
    return found


def test_a_divided_run_is_the_same(whole: list[tuple[int, int, int]]) -> None:
    net = balanced()
    probes = spikes(net)
    for ms in (0.1, 0.0, 7.3, 20.6, 32.0):
        net.run(ms)
    assert net.time == pytest.approx(60.0)
    assert trains(probes) == whole


def test_two_threads_give_the_same(whole: list[tuple[int, int, int]]) -> None:
    net = balanced(threads=2)
    probes = spikes(net)
    net.run(60.0)
    assert trains(probes) == whole


class Coin(Neuron):
    """Fires by chance."""

    stochastic = True

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return state, bernoulli(0.01 + inputs.x * 0.0)


def test_chance_depends_on_seed_neuron_and_step_alone() -> None:
    def run(seed: int, *parts: float, threads: int = 1) -> list[tuple[int, int, int]]:
        net = Network(dt=1.0, seed=seed, threads=threads)
        net.population(Coin(), 500)
        net.population(Coin(), 500)
        probes = spikes(net)
        for ms in parts:
            net.run(ms)
        return trains(probes)

    one = run(1, 200.0)
    assert run(1, 3.0, 197.0, threads=2) == one
    assert abs(len(one) - 2000) < 4 * np.sqrt(2000)
    groups = [{(step, sender) for g, step, sender in one if g == k} for k in (0, 1)]
    assert len(groups[0] & groups[1]) < 30  # 10 by chance
    assert len(set(one) & set(run(2, 200.0))) < 50  # 20 by chance


def test_another_seed_gives_others(whole: list[tuple[int, int, int]]) -> None:
    net = balanced(seed=2)
    probes = spikes(net)
    net.run(60.0)
    assert trains(probes) != whole


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stop_save_load_continue_is_one_run(dtype: str) -> None:
    def ending(net: Network, probes: list[SpikeProbe]) -> tuple[list[tuple[int, int, int]], dict]:
        return [spike for spike in trains(probes) if spike[1] >= 233], net.state_dict()

    one = balanced(dtype=dtype)
    probes = spikes(one)
    one.run(60.0)
    first = balanced(dtype=dtype)
    first.run(23.3)
    state = first.state_dict()
    first.run(1.0)  # what was saved does not move on
    second = balanced(dtype=dtype)
    later = spikes(second)
    second.load_state_dict(state)
    assert second.time == pytest.approx(23.3)
    second.run(36.7)
    (expected, end), (found, same) = ending(one, probes), ending(second, later)
    assert found == expected
    assert all(np.array_equal(end[name], same[name]) for name in end)
    assert later[0].duration == pytest.approx(36.7)


def test_going_back_repeats_a_run(whole: list[tuple[int, int, int]]) -> None:
    net = balanced()
    start = net.state_dict()
    probes = spikes(net)
    net.run(60.0)
    net.load_state_dict(start)
    assert trains(probes) == []
    net.run(60.0)
    assert trains(probes) == whole


def test_probes_change_no_spikes_and_agree(whole: list[tuple[int, int, int]]) -> None:
    net = balanced()
    probes = spikes(net)
    exc = net.groups[0]
    some = net.probe(exc, "spikes", neurons=[3, 200, 7])
    v = net.probe(exc, "v")  # type: ignore[arg-type]
    sparse = net.probe(exc, "v", neurons=[200, 3], every=0.4)  # type: ignore[arg-type]
    rate, part = net.probe(exc, "rate"), net.probe(exc, "rate", neurons=[3, 200], every=0.5)
    net.run(13.0)
    late = net.probe(exc, "spikes")
    net.run(47.0)
    assert trains(probes) == whole
    assert trains([late]) == [s for s in whole if s[0] == 0 and s[1] >= 130]
    assert trains([some]) == [s for s in whole if s[0] == 0 and s[2] in (3, 200, 7)]
    assert v.values.shape == (600, 203)
    np.testing.assert_allclose(v.times, np.arange(1, 601) * 0.1)
    np.testing.assert_array_equal(sparse.values, v.values[3::4, [200, 3]])
    np.testing.assert_allclose(sparse.times, v.times[3::4])
    steps = np.array([s[1] for s in whole if s[0] == 0])
    counts = np.bincount(steps // 10, minlength=60)
    np.testing.assert_allclose(rate.values, counts / 203 / 1e-3)
    np.testing.assert_allclose(rate.times, np.arange(1, 61))
    pair = np.array([s[1] for s in whole if s[0] == 0 and s[2] in (3, 200)])
    np.testing.assert_allclose(part.values, np.bincount(pair // 5, minlength=120) / 2 / 0.5e-3)
    assert probes[0].rate == pytest.approx(rate.values.mean())


def test_states_may_be_read_and_written_between_runs() -> None:
    net = Network(dt=1.0)
    cells = net.population(Izhikevich(), (2, 3), initial={"v": np.full((2, 3), -60.0)})
    assert (cells.state["v"] == -60.0).all()
    assert cells.state["u"][0] == np.float32(-13.0)
    probe = net.probe(cells, "spikes")
    net.run(1.0)
    cells.state["v"][4] = 40.0
    net.run(1.0)
    assert (probe.steps.tolist(), probe.senders.tolist()) == ([1], [4])
    assert cells.state["v"][4] == -65.0


def test_a_function_is_asked_at_its_own_times() -> None:
    asked: list[float] = []

    def amplitude(ms: float) -> float:
        asked.append(ms)
        return ms

    net = Network(dt=0.5, dtype="float64")
    cells = net.population(LIFExp(tau_m=1e12, c_m=1.0, v_threshold=1e9, e_l=0.0), 2)
    net.current(cells, amplitude, every=2.0, largest=100.0)
    v = net.probe(cells, "v")
    net.run(3.0)
    net.run(5.0)
    assert asked[-5:] == [0.0, 2.0, 2.0, 4.0, 6.0]  # at 2.0 again as the second run begins
    # The current of a step acts over this step: dv = I dt / C.
    expected = np.cumsum(np.repeat([0.0, 2.0, 4.0, 6.0], 4) * 0.5)
    np.testing.assert_allclose(v.values[:, 1], expected, atol=1e-9)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_function_that_fails_leaves_a_run_that_can_be_continued(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on_host(monkeypatch)
    found = []
    for fails in (set(), {4.0}):

        def rate(ms: float, fails: set[float] = fails) -> float:
            if ms in fails:
                fails.remove(ms)
                raise ZeroDivisionError
            return 9000.0 + ms

        net = Network(dt=0.5, seed=2)
        net.device = torch.device(device)  # of a GPU the kernels run on the host
        cells = net.population(LIFDelta(), 40, initial={"v": Uniform(-70.0, -55.0)})
        net.poisson(cells, rate, 0.8, every=2.0, largest=9100.0)
        probe = net.probe(cells, "spikes")
        if fails:
            with pytest.raises(ZeroDivisionError):
                net.run(20.0)
            assert net.time == 4.0
        net.run(20.0 - net.time)
        found.append((trains([probe]), cells.state["v"].tolist()))
    assert found[0] == found[1]
    assert len(found[0][0]) > 50


def test_poisson_counts_have_the_rate_they_were_given() -> None:
    net = Network(dt=1.0, dtype="float64", seed=3)
    cells = net.population(LIFDelta(tau_m=1e30, e_l=0.0, v_threshold=1e9), 1000)
    hz = np.repeat([0.0, 100.0], 500)
    net.poisson(cells, hz, 1.0)
    v = net.probe(cells, "v")
    net.run(400.0)
    counts = np.diff(v.values, axis=0, prepend=0.0).round()
    assert not counts[:, :500].any()
    drawn = counts[:, 500:]  # 200,000 counts of mean 0.1
    assert abs(drawn.mean() - 0.1) < 4 * np.sqrt(0.1 / drawn.size)
    assert abs(drawn.var() - 0.1) < 0.005
    assert np.abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.01


def test_events_of_a_camera_become_spikes() -> None:
    kind = [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", bool)]
    events = np.array([(900, 2, 0, True), (1500, 0, 1, False), (1600, 0, 1, False)], dtype=kind)
    net = Network(dt=1.0)
    source = net.events(events, (3, 2, 2))
    probe = net.probe(source, "spikes")
    net.run(3.0)
    assert source.shape == (2, 2, 3)
    assert [np.unravel_index(i, source.shape) for i in probe.senders] == [(1, 0, 2), (0, 1, 0)]
    assert probe.times.tolist() == [1.0, 2.0]


def test_ctrl_c_ends_a_run_that_can_be_continued(whole: list[tuple[int, int, int]]) -> None:
    net = balanced()
    probes = spikes(net)
    net.run(0.1)  # compiled before the clock starts
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        net.run(1e7)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert 0.1 < net.time < 1e7
    assert all(probe.step == net.step for probe in probes)
    net.run(1.0)
    assert trains(probes)[:100] == whole[:100]


def test_progress_tells_biological_time_and_factor(capsys: pytest.CaptureFixture[str]) -> None:
    net = Network()
    net.population(LIFDelta(), 10)
    net.run(50.0, progress=True)
    out = capsys.readouterr().out
    assert "50 of 50 ms" in out
    assert "x real time" in out


def test_a_picture_shows_all_probed_populations() -> None:
    net = balanced()
    spikes(net)
    net.run(60.0)
    figure = net.plot(10.0)
    raster, rate, *_ = figure.axes
    assert [label.get_text() for label in raster.get_yticklabels()] == ["exc", "inh", "given"]
    assert len(rate.patches) == 3
    assert rate.get_xlim() == (10.0, 60.0)


def test_importing_networks_imports_no_compiler() -> None:
    code = "import spikesim.network, sys; print(sorted({'numba', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
