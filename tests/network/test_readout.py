"""Readouts that act back: against a loop written out, and what they must not depend on."""

from dataclasses import replace

import numpy as np
import pytest

from spikesim.errors import BackendError, UserError
from spikesim.network import Ensemble, Explicit, Network
from spikesim.network.export import record
from spikesim.network.readout import Readout
from spikesim.neurons import LIFDelta
from spikesim.neurons.synaptic import synaptic

N, DT = 150, 0.1


def make(
    *, delay: float | None = None, threads: int = 1, dtype: str = "float64", size: float = 30.0
) -> tuple[Network, Readout]:
    """A driven population with two outputs, which act back strongly."""
    random = np.random.default_rng(1)
    net = Network(dt=DT, seed=1, dtype=dtype, threads=threads)  # type: ignore[arg-type]
    cells = net.population(synaptic(LIFDelta()), N, name="cells")
    net.current(cells, random.uniform(300.0, 600.0, N))
    net.connect(cells, cells, Explicit(np.arange(N), np.roll(np.arange(N), 1)), weight=500.0)
    weight = random.normal(0.0, 2.0, (2, N))
    feedback = random.uniform(-1.0, 1.0, (2, N)) * 200.0
    how = {"weight": weight, "feedback": feedback, "delay": delay, "largest": size}
    return net, net.readout(cells, 2, **how)


def reference(
    steps: int, delay: int, largest: float
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """The same network as a loop over steps; outputs, filtered spikes at last, and spikes."""
    random = np.random.default_rng(1)
    drive = random.uniform(300.0, 600.0, N)
    weight, feedback = random.normal(0.0, 2.0, (2, N)), random.uniform(-1.0, 1.0, (2, N)) * 200.0
    v, wait = np.full(N, -70.0), np.zeros(N)
    i, h, r, g, arrived = (np.zeros(N) for _ in range(5))
    decays, per_spike = (np.exp(-DT / 2.0), np.exp(-DT / 20.0)), DT / 40.0
    k = -np.expm1(-DT / 10.0)
    outputs, spikes = np.zeros((steps, 2)), []
    for n in range(steps):
        back = outputs[n - delay] if n >= delay else np.zeros(2)
        current = drive + i + np.clip(back, -largest, largest) @ feedback
        moved = v + ((-70.0 - v) * k + current * (k * 10.0 / 250.0))
        moved = np.where(wait > 0, v, moved)
        s = (moved >= -55.0) & (wait == 0)
        v = np.where(s, -70.0, moved)
        wait = np.where(s, 20, np.maximum(wait - 1, 0))
        rising = h + arrived * per_spike
        i, h = i * decays[0] + rising, rising * decays[1]
        r, g = r * decays[0] + g, g * decays[1] + s * per_spike
        arrived = 500.0 * np.roll(s, -1)
        outputs[n] = weight @ r
        spikes += [(n, j) for j in np.flatnonzero(s).tolist()]
    return outputs, r, spikes


@pytest.mark.parametrize(("delay", "largest"), [(None, 30.0), (0.3, 30.0), (None, 0.5)])
def test_the_loop_is_closed_as_if_written_out(delay: float | None, largest: float) -> None:
    net, readout = make(delay=delay, size=largest)
    spikes, values = net.probe(readout.pre, "spikes"), net.probe(readout)
    net.run(60.0)
    outputs, r, expected = reference(600, round((delay or DT) / DT), largest)
    found = list(zip(spikes.steps.tolist(), spikes.senders.tolist(), strict=True))
    assert found == expected
    assert len(found) > 200
    assert np.abs(outputs).max() > 0.5  # so that the limit of the last case matters
    assert np.allclose(values.values, outputs, rtol=0, atol=1e-9)
    assert np.allclose(readout.pre.state["r"], r, rtol=0, atol=1e-12)
    assert readout.value == pytest.approx(values.values[-1])
    assert values.times[[0, -1]] == pytest.approx([DT, 60.0])


def test_neither_threads_nor_pieces_nor_a_saved_state_change_a_bit() -> None:
    runs = []
    for threads, pieces in ((1, [60.0]), (2, [60.0]), (1, [0.1, 7.3, 52.6])):
        net, readout = make(threads=threads, dtype="float32")
        probe = net.probe(readout)
        for ms in pieces:
            net.run(ms)
        runs.append(probe.values)
    assert (runs[0] == runs[1]).all()
    assert (runs[0] == runs[2]).all()
    net, readout = make(dtype="float32")
    net.run(20.0)
    readout.weight *= 0.5
    state = net.state_dict()
    first = net.probe(readout)
    net.run(20.0)
    other, again = make(dtype="float32")
    second = other.probe(again)
    other.load_state_dict(state)
    assert (again.weight == readout.weight).all()
    other.run(20.0)
    assert (first.values == second.values).all()


def test_without_feedback_it_only_looks_on() -> None:
    def spikes(outputs: int) -> list[int]:
        net = Network(dt=DT, seed=1)
        cells = net.population(synaptic(LIFDelta()), N)
        net.current(cells, np.linspace(300.0, 600.0, N))
        probe = net.probe(cells, "spikes")
        if outputs:
            readout = net.readout(cells, outputs, weight=1.0)
            values = net.probe(readout, every=1.0)
        net.run(50.0)
        if outputs:
            assert values.values.shape == (50, outputs)
            assert values.values[-1] == pytest.approx(np.sum(cells.state["r"], dtype=float))
        return probe.steps.tolist()

    assert spikes(0) == spikes(3)


def test_weights_changed_between_runs_count_from_then_on() -> None:
    net, readout = make()
    net.run(20.0)
    readout.weight[:] = 0.0
    probe = net.probe(readout)
    net.run(1.0)
    assert (probe.values == 0).all()


def test_weights_that_are_set_are_those_that_run() -> None:
    net, readout = make()
    net.run(20.0)
    table = readout.weight
    readout.weight = 2.0 * table
    assert readout.weight is table
    probe = net.probe(readout)
    net.run(1.0)
    assert probe.values[-1] == pytest.approx(readout.value)
    assert (probe.values[-1] != 0).all()
    with pytest.raises(UserError, match=r"weight of .* must be one value or \[2, 150\], got \[2\]"):
        readout.weight = np.ones(2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_grew_without_bounds_are_refused(bad: float) -> None:
    net, readout = make()
    net.run(1.0)
    readout.weight[1, 2] = bad
    with pytest.raises(UserError, match=r"weight of readout of cells\[1, 2\] must be finite, got"):
        net.run(1.0)
    assert net.time == 1.0
    readout.weight[1, 2] = 0.0
    net.run(1.0)


def test_an_ensemble_runs_readouts_as_the_networks_would() -> None:
    apart, together = [make() for _ in range(2)], [make() for _ in range(2)]
    for pairs in (apart, together):
        pairs[1][1].weight *= 0.5
    Ensemble([net for net, _ in together]).run(20.0)
    for (net, alone), (_, readout) in zip(apart, together, strict=True):
        net.run(20.0)
        assert (alone.value == readout.value).all()
    assert (apart[0][1].value != apart[1][1].value).all()


def test_what_a_probe_kept_is_exported_and_drawn() -> None:
    net, readout = make()
    probe = net.probe(readout, every=1.0)
    net.run(20.0)
    (found,) = record(net).series
    assert (found.name, found.what, found.which.tolist()) == ("readout of cells", "value", [0, 1])
    assert (found.values == probe.values).all()
    assert (found.times == probe.times).all()
    (axes,) = net.plot().axes
    assert axes.get_ylabel() == "value\nreadout of cells"
    assert [line.get_ydata().tolist() for line in axes.lines] == probe.values.T.tolist()


def test_wrong_readouts_are_refused() -> None:
    net = Network(dt=DT)
    cells = net.population(synaptic(LIFDelta()), 5, name="cells")
    back = np.ones((1, 5))
    with pytest.raises(UserError, match="cells has no state 'q'"):
        net.readout(cells, 1, state="q")
    with pytest.raises(UserError, match=r"weight of .* must be one value or \[2, 5\]"):
        net.readout(cells, 2, weight=np.ones(5))
    with pytest.raises(UserError, match="largest size of an output"):
        net.readout(cells, 1, feedback=back)
    with pytest.raises(UserError, match="a step at least"):
        net.readout(cells, 1, feedback=back, largest=1.0, delay=0.0)
    with pytest.raises(UserError, match="no receptor 'here'"):
        net.readout(cells, 1, receptor="here")
    readout = net.readout(cells, 1)
    with pytest.raises(UserError, match="all 'value' can be probed"):
        net.probe(readout, "weight")  # type: ignore[call-overload]
    with pytest.raises(UserError, match="not of this network"):
        Network(dt=DT).probe(readout)
    net.world = replace(net.world, size=2)
    with pytest.raises(UserError, match="all neurons in one process"):
        net.readout(cells, 1)
    net.world = replace(net.world, size=1)
    net.device = net.device.__class__("cuda")
    with pytest.raises(BackendError, match="readouts run on a CPU"):
        net.readout(cells, 1)
