"""Statistics of trains that were made to have them."""

import numpy as np
import pytest

from spikesim.network import Network, SpikeProbe, correlation, cv_isi, rates


def recorded(times: np.ndarray, senders: np.ndarray, size: int, ms: float, **options) -> SpikeProbe:
    net = Network(dt=0.5)
    probe = net.probe(net.spikes(times, senders, size), "spikes", **options)
    net.run(ms)
    return probe


def test_rates_and_intervals_of_hand_made_trains() -> None:
    clock, pairs = np.arange(1, 101) * 10.0, np.repeat(np.arange(20) * 50.0, 2) + 1.0
    pairs[1::2] += 10.0  # intervals of 10 and 40 ms
    times = np.concatenate([clock, pairs, [500.0, 700.0]])
    senders = np.concatenate([np.zeros(100), np.ones(40), [3, 3]]).astype(int)
    probe = recorded(times, senders, 4, 1000.0)
    assert rates(probe).tolist() == [100.0, 40.0, 0.0, 2.0]
    intervals = np.diff(pairs)
    cv = cv_isi(probe)
    assert cv[0] == 0.0
    assert cv[1] == pytest.approx(intervals.std() / intervals.mean())
    assert np.isnan(cv[2:]).all()
    some = recorded(times, senders, 4, 1000.0, neurons=[1, 0])
    assert rates(some).tolist() == [40.0, 100.0]
    assert cv_isi(some).tolist() == cv[[1, 0]].tolist()


def test_a_poisson_train_has_intervals_of_cv_one() -> None:
    random = np.random.default_rng(0)
    times = random.uniform(0, 100_000.0, 2000)
    assert cv_isi(recorded(times, np.zeros(2000, int), 1, 100_000.0))[0] == pytest.approx(
        1.0, abs=0.06
    )


def test_correlation_is_that_of_binned_counts() -> None:
    random = np.random.default_rng(1)
    shared, own = random.uniform(0, 20_000.0, 400), random.uniform(0, 20_000.0, (3, 400))
    times = np.concatenate([shared, shared, own.ravel()])
    senders = np.concatenate([np.repeat([0, 1], 400), np.repeat([0, 1, 2], 400)])
    probe = recorded(times, senders, 4, 20_003.0)
    found = correlation(probe, bin_ms=10.0)
    counts = [
        np.histogram(np.unique(probe.times[probe.senders == i]) - 0.25, np.arange(0, 20_001, 10))[0]
        for i in range(3)
    ]
    np.testing.assert_allclose(found, np.corrcoef(counts)[np.triu_indices(3, 1)])
    assert found[0] == pytest.approx(0.5, abs=0.1)
    assert np.abs(found[1:]).max() < 0.1
