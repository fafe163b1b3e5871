"""The neuron-astrocyte liquid: against the published millisecond, written with dense matrices."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesim.errors import UserError
from spikesim.kernels.liquid_numba import follow
from spikesim.liquid.nalsm import AstrocyteLiquid, Constants
from spikesim.liquid.stimuli import Events, PoissonStimuli
from spikesim.liquid.stored import settled, stored_counts
from spikesim.liquid.topology import Topology, Wiring
from spikesim.seeds import key

Real = NDArray[np.float64]


def published(
    liquid: AstrocyteLiquid, events: Events, fade: float, q: Real | None = None
) -> tuple[NDArray[np.bool_], Real, Real, Real]:
    """Spikes, levels, weights and traces, by the authors' order of a millisecond, float64."""
    wiring, c = liquid.wiring, liquid.constants
    inputs, size = wiring.inputs, wiring.inputs + wiring.neurons
    place = inputs + wiring.target, wiring.sender
    weight, there = np.zeros((size, size)), np.zeros((size, size), bool)
    weight[place], there[place] = liquid.weight, True
    inhibitory = np.concatenate([np.zeros(inputs, bool), wiring.inhibitory])
    low = np.where(inhibitory | (np.arange(size) < inputs), -c.largest, 0.0)
    high = np.where(inhibitory, 0.0, c.largest)
    v, wait, since = np.zeros(size), np.zeros(size), np.full(size, 100.0)
    q = np.zeros(size) if q is None else q
    p, a, gain, bias = c.rate, c.rate, c.gain, c.rate
    steps = len(events.starts) - 1
    raster, levels = np.zeros((steps, size), bool), np.zeros(steps)
    for t in range(steps):
        raster[t] = z = (wait <= 0) & (v >= c.threshold)
        v[z], since[z] = 0.0, 0.0
        given = np.zeros(size)
        given[events.inputs[events.starts[t] : events.starts[t + 1]]] = c.drive
        v = v + weight @ (np.exp(-since / c.tau_u) / c.tau_u) + given - v / c.tau_v
        since = np.clip(since + 1, 0, 100)
        wait = np.where(z, c.refractory, wait - 1)
        after, before = np.outer(z, q), np.outer(q, z)  # [post, pre]
        change = np.where(inhibitory, p * before - a * after, p * after - a * before)
        weight = np.where(there, np.clip(weight + change, low, high), 0.0)
        q = math.exp(-1 / c.tau_q) * (q + c.jump * z)
        a = a + (gain * (z[inputs:].sum() - z[:inputs].sum()) + bias - a) / c.tau_a
        p, a, gain, bias = p * fade, a * fade, gain * fade, bias * fade
        levels[t] = a
    return raster, levels, weight[place], q


SMALL = Constants(gain=0.05)


def small(seed: int, constants: Constants = SMALL) -> AstrocyteLiquid:
    wiring = Topology(inputs=40, grid=(4, 4, 4), density=0.3).draw(seed)
    liquid = AstrocyteLiquid(wiring, constants)
    liquid.weight *= np.random.default_rng(seed).random(liquid.weight.size, np.float32)
    return liquid


def stimuli(seed: int = 0, n: int = 3) -> PoissonStimuli:
    return PoissonStimuli(np.random.default_rng(seed).random((n, 40)) * 0.3, seed)


@pytest.mark.parametrize(
    "constants",
    [
        SMALL,
        Constants(gain=0.0, rate=0.3),
        Constants(tau_u=3.0, refractory=4, tau_v=40.0, threshold=8.0, fade=1.0),
    ],
)
def test_spikes_are_those_of_the_published_millisecond(constants: Constants) -> None:
    for seed in range(2):
        liquid = small(seed, constants)
        events = stimuli(seed).show(1, 150)
        found = liquid.record(events)
        raster, levels, weight, _ = published(liquid, events, constants.fade)
        assert raster[:, 40:].sum() > 200
        np.testing.assert_array_equal(np.hstack([found.inputs, found.liquid]), raster)
        # float32 against float64, over 150 steps.
        np.testing.assert_allclose(found.astrocyte, levels, atol=1e-6)
        np.testing.assert_allclose(found.weight, weight, atol=1e-5)


def test_settling_keeps_weights_and_traces_from_one_snapshot_to_the_next() -> None:
    liquid, other, shown = small(3), small(3), stimuli(3)
    liquid.settle(shown, 5, steps=20, seed=7)
    q = None
    random = np.random.default_rng(key(7, "snapshots"))
    order = [*random.permutation(3), *random.permutation(3)][:5]
    for visit, number in enumerate(order):
        _, _, weight, q = published(other, shown.show(int(number), 20, visit), 1.0, q)
        other.weight = weight.astype(np.float32)
    np.testing.assert_allclose(liquid.weight, other.weight, atol=1e-5)
    assert not np.allclose(liquid.weight, small(3).weight, atol=1e-2)


def one_synapse() -> AstrocyteLiquid:
    """An input onto a neuron that has nothing else."""
    wiring = Wiring(
        np.array([0, 1, 1]), np.array([0], np.int32), np.ones(1, np.float32), 1, np.array([False])
    )
    return AstrocyteLiquid(wiring, Constants(rate=0.0, gain=0.0))


def pulses(times: list[int], steps: int) -> Events:
    starts = np.searchsorted(times, np.arange(steps + 1)).astype(np.int64)
    return Events(starts, np.zeros(len(times), np.int32))


def test_a_spike_gives_a_potential_that_leaks_and_takes_up_what_is_left() -> None:
    """3 as it arrives, then (1 - 1/64) v + 3 e^-k: a threshold just below is passed just then."""
    potential = [3.0]
    for k in range(1, 5):
        potential.append((1 - 1 / 64) * potential[-1] + 3.0 * math.exp(-k))
    assert potential[1] == pytest.approx(3 * 63 / 64 + 3 / math.e)
    peak = max(potential)
    liquid = one_synapse()
    for k, v in [*enumerate(potential[: potential.index(peak) + 1]), (None, peak * 1.0002)]:
        cell = replace(liquid.constants, threshold=v * 0.9999)
        activity = AstrocyteLiquid(liquid.wiring, cell).record(pulses([5], 70))
        np.testing.assert_array_equal(np.flatnonzero(activity.inputs), [6])
        first = np.flatnonzero(activity.liquid)[:1].tolist()
        # It arrives in the millisecond of the spike, and is tested in the one after.
        assert first == ([] if k is None else [7 + k])


def test_a_synapse_keeps_its_last_spike_only() -> None:
    """Spikes 3 ms apart: the current begins anew, where a sum of both would be 5 % more."""
    liquid = one_synapse()
    potential, tops = 0.0, []
    since = 100.0
    for t in range(40):
        since = 0.0 if t in (3, 6, 9) else since + 1
        potential += 3.0 * math.exp(-since) - potential / 64 if t >= 3 else 0.0
        tops.append(potential)
    for threshold, count in ((max(tops) * 0.9999, 1), (max(tops) * 1.0001, 0)):
        wanted = replace(liquid.constants, threshold=threshold)
        found = AstrocyteLiquid(liquid.wiring, wanted).record(pulses([2, 5, 8], 40))
        assert found.liquid.sum() == count


def test_an_input_fires_once_in_three_milliseconds_at_most() -> None:
    activity = one_synapse().record(pulses(list(range(20)), 20))
    np.testing.assert_array_equal(np.flatnonzero(activity.inputs), np.arange(1, 20, 3))


def test_the_astrocyte_stays_where_liquid_and_input_agree() -> None:
    level = Constants().rate
    a = np.float32(level)
    for _ in range(1000):
        a = follow(a, np.float32(0.015), np.float32(0.0), np.float32(level), np.float32(100.0))
    assert a == np.float32(level)


def test_the_astrocyte_follows_an_imbalance_with_its_time_constant() -> None:
    a, levels = 0.15, []
    for _ in range(1500):
        a = follow(a, 0.015, -7.0, 0.15, 100.0)
        levels.append(a)
    until = np.arange(1, 1501)
    expected = 0.15 - 7 * 0.015 * (1 - (1 - 1 / 100) ** until)
    np.testing.assert_allclose(levels, expected, rtol=1e-9)
    assert levels[-1] == pytest.approx(0.15 - 7 * 0.015, rel=1e-3)


def test_without_gain_depression_is_as_strong_as_potentiation() -> None:
    """The liquid with STDP alone: the level is the rate, bit for bit, while both fade."""
    liquid = small(5, Constants(gain=0.0))
    activity = liquid.record(stimuli(5).show(0, 100))
    expected, rate = [], np.float32(0.15)
    for _ in range(100):
        rate *= np.float32(0.99)
        expected.append(rate)
    np.testing.assert_array_equal(activity.astrocyte, np.array(expected, np.float32))
    assert not np.array_equal(activity.weight, liquid.weight)


def test_a_liquid_that_learns_nothing_keeps_its_weights() -> None:
    liquid = small(6, Constants(rate=0.0, gain=0.0))
    before = liquid.weight.copy()
    liquid.settle(stimuli(6), 3)
    activity = liquid.record(stimuli(6).show(0, 100))
    np.testing.assert_array_equal(liquid.weight, before)
    np.testing.assert_array_equal(activity.weight, before)


def test_a_stimulus_shown_again_gives_the_same_counts() -> None:
    liquid, shown = small(7), stimuli(7, n=8)
    first = liquid.counts(shown, steps=100)
    again = liquid.counts(shown, [5, 0, 5], steps=100, threads=2)
    np.testing.assert_array_equal(again, first[[5, 0, 5]])
    spikes = liquid.record(shown.show(5, 100)).liquid
    np.testing.assert_array_equal(spikes.sum(0), first[5])


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = stimuli(8, n=7)
    whole, resumed = small(8), small(8)
    settled(whole, shown, tmp_path, 4)
    expected = stored_counts(whole, shown, tmp_path, "train", steps=60, part=3)
    np.testing.assert_array_equal(expected, whole.counts(shown, steps=60))
    (gone,) = tmp_path.glob("train-*-000003-*")
    gone.unlink()
    with monkeypatch.context() as patch:
        patch.delattr(AstrocyteLiquid, "settle")
        settled(resumed, shown, tmp_path, 4)
    told: list[tuple[int, int]] = []
    found = stored_counts(
        resumed, shown, tmp_path, "train", steps=60, part=3,
        told=lambda n, of: told.append((n, of)),
    )  # fmt: skip
    np.testing.assert_array_equal(found, expected)
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_what_is_stored_is_read_for_the_same_run_only(tmp_path: Path) -> None:
    shown, still = stimuli(8, n=4), Constants(rate=0.0, gain=0.0)
    for of in (small(8), AstrocyteLiquid(small(8).wiring, still)):
        for snapshots in (4, 6):
            settled(of, shown, tmp_path, snapshots)
            fresh = AstrocyteLiquid(of.wiring, of.constants)
            fresh.weight = of.weight
            for given, steps in ((shown, 60), (shown, 80), (stimuli(9, n=4), 60)):
                found = stored_counts(of, given, tmp_path, "train", steps=steps)
                np.testing.assert_array_equal(found, fresh.counts(given, steps=steps))
    assert len([*tmp_path.glob("weight-*")]) == 4


def test_events_of_other_inputs_are_refused() -> None:
    """They would be written beyond the arrays of the loop."""
    liquid, other = small(1), PoissonStimuli(np.full((2, 500), 0.9))
    for act in (liquid.counts, liquid.settle):
        with pytest.raises(UserError, match="stimuli are for 500 inputs, the liquid has"):
            act(other)
    with pytest.raises(UserError, match="events of input 499, but the liquid has"):
        liquid.record(other.show(0, 100))
    with pytest.raises(UserError, match="got none"):
        liquid.settle(PoissonStimuli(np.zeros((0, liquid.wiring.inputs))))


def test_bad_constants_are_refused() -> None:
    with pytest.raises(UserError, match=r"tau_v must be > 0, got 0\.0"):
        Constants(tau_v=0.0)
    with pytest.raises(UserError, match=r"gain must be >= 0, got -1\.0"):
        Constants(gain=-1.0)
