"""Poisson spikes, noise and currents: exact limits, the words of Philox, and their statistics."""

from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spikesim.kernels.engine import CpuEngine, CurrentInput, NoiseInput, PoissonInput, Ring
from spikesim.kernels.poisson import poisson_limits
from spikesim.random import Stream, philox

SEED, STREAM = (5 << 35) + 77, 9
RINGS = {"float32": np.int32, "float64": np.int64}
SIGMAS = 5.0  # of a statistical estimate: one in two million fails by chance


def exact_thresholds(mean: float) -> list[int]:
    """``round(2**32 P(X <= k))`` for k = 0, 1, ... up to 2**32."""
    getcontext().prec = 60
    term = total = (-Decimal(mean)).exp()
    found = []
    while not found or found[-1] < 2**32:
        found.append(int((total * 2**32).to_integral_value()))
        term = term * Decimal(mean) / len(found)
        total += term
    return found


def words(steps: int, count: int) -> NDArray[np.int64]:
    """``[steps, count]``: neuron 64 j + 16 w + l takes word w of element 16 j + l."""
    neuron = torch.arange(count)
    element = neuron // 64 * 16 + neuron % 16
    key = torch.tensor(SEED & 0xFFFFFFFF), torch.tensor(SEED >> 32)
    zero = torch.zeros_like(element)
    rows = []
    for step in range(steps):
        block = torch.stack(philox(key, (element, zero, zero + step, zero + (STREAM << 8))))
        rows.append(block[neuron // 16 % 4, neuron])
    return torch.stack(rows).numpy()


def count(thresholds: list[int], word: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(np.array(thresholds), word, side="right")


@pytest.mark.parametrize("mean", [0.0, 1e-9, 0.001, 0.5, 2.0, 21.7, 100.0, 1000.0, 20_000.0])
def test_limits_are_exact(mean: float) -> None:
    base, limits = poisson_limits(np.array([mean]))
    thresholds = np.array(exact_thresholds(mean))
    word = np.unique(np.concatenate([thresholds - 1, thresholds, [0, 2**32 - 1]]))
    word = word[(word >= 0) & (word < 2**32)]
    got = base[0] + (word[:, None] > limits[:, 0].astype(np.int64)).sum(axis=1)
    assert np.array_equal(got, count(thresholds.tolist(), word))


def test_limits_of_several_means_are_those_of_each() -> None:
    means = np.array([3.0, 0.0, 700.0, 0.1])
    base, limits = poisson_limits(means)
    for i, mean in enumerate(means):
        one_base, one = poisson_limits(means[i : i + 1])
        assert one_base[0] == base[i]
        filled = np.full(len(limits), 2**32 - 1, np.uint32)
        filled[: len(one)] = one[:, 0]
        assert np.array_equal(limits[:, i], filled), mean


@pytest.mark.parametrize("neurons", [1, 33, 64, 1025])
@pytest.mark.parametrize("dtype", RINGS)
@pytest.mark.parametrize("spread", [False, True])
def test_poisson_counts_are_those_of_the_words(neurons: int, dtype: str, spread: bool) -> None:
    steps, slots, weight = 20, 32, -7
    means = np.linspace(0.0, 40.0, neurons) if spread else np.array([3.5])
    expected = np.empty((steps, neurons), np.int64)
    for i, column in enumerate(words(steps, neurons).T):
        expected[:, i] = count(exact_thresholds(float(means[i % len(means)])), column)
    ring = Ring(np.full((slots, neurons), 1000, RINGS[dtype]), 1.0)
    mean = means if spread else 3.5
    engine = CpuEngine([PoissonInput(ring, mean, weight, SEED, STREAM)], block=4, threads=2)
    engine.run(0, 7)
    engine.run(7, steps - 7)
    assert np.array_equal(ring.array[:steps], 1000 + weight * expected)
    assert (ring.array[steps:] == 1000).all()


def test_another_mean_between_two_runs() -> None:
    ring = Ring(np.zeros((4, 64), np.int32), 1.0)
    drive = PoissonInput(ring, 5.0, 1, SEED, STREAM)
    engine = CpuEngine([drive], block=1)
    drive.mean_per_step = 0.0
    engine.run(0, 2)
    assert not ring.array.any()
    drive.mean_per_step = np.full(64, 5.0)
    engine.run(2, 1)
    assert np.array_equal(ring.array[2], count(exact_thresholds(5.0), words(3, 64)[2]))


@pytest.mark.parametrize("mean", [0.02, 2.0, 50.0])
def test_poisson_statistics(mean: float) -> None:
    neurons, slots = 1025, 1024
    ring = Ring(np.zeros((slots, neurons), np.int32), 1.0)
    CpuEngine([PoissonInput(ring, mean, 1, 3, 0)], block=8).run(10**6 * slots, slots)
    x, n = ring.array.astype(float), ring.array.size
    assert abs(x.mean() - mean) < SIGMAS * np.sqrt(mean / n)
    fourth = mean + 3 * mean**2  # the fourth central moment
    assert abs(((x - mean) ** 2).mean() - mean) < SIGMAS * np.sqrt((fourth - mean**2) / n)
    for lag in ((1, 0), (0, 1), (0, 16), (0, 64)):  # of steps and neurons
        pairs = (x[lag[0] :, lag[1] :] - mean) * (x[: slots - lag[0], : neurons - lag[1]] - mean)
        assert abs(pairs.mean()) < SIGMAS * mean / np.sqrt(pairs.size)


def test_the_step_is_cut_to_32_bits_and_nothing_else() -> None:
    rows = []
    for first in (0, 2**32 - 2, 2**32):
        ring = Ring(np.zeros((8, 64), np.int32), 1.0)
        CpuEngine([PoissonInput(ring, 2.0, 1, SEED, STREAM)], block=4).run(first, 3)
        rows.append([ring.array[(first + k) % 8] for k in range(3)])
    assert np.array_equal(rows[0], rows[2])
    assert np.array_equal(rows[1][2], rows[0][0])


@pytest.mark.parametrize("neurons", [1, 33, 1025])
@pytest.mark.parametrize("dtype", RINGS)
@pytest.mark.parametrize("spread", [False, True])
def test_noise_is_the_normal_numbers_of_the_stream(neurons: int, dtype: str, spread: bool) -> None:
    quantum, steps = 2.0**-10, 5
    mean: Any = np.linspace(-3.0, 3.0, neurons) if spread else 1.5
    std = 2.0
    stream = Stream(torch.tensor([SEED, 0, 0]), STREAM)
    elements = -(-neurons // 32) * 16
    z = torch.stack(
        [
            torch.stack([stream.normal(t, d, (1, elements))[0] for d in range(2)])
            for t in range(steps)
        ]
    )  # [steps, draw, element]
    z = z.view(steps, 2, -1, 16).transpose(1, 2).reshape(steps, -1)[:, :neurons]
    expected = np.rint(mean / quantum + std / quantum * z.double().numpy())
    ring = Ring(np.zeros((8, neurons), RINGS[dtype]), quantum)
    CpuEngine([NoiseInput(ring, mean, std, SEED, STREAM)], block=4, threads=2).run(0, steps)
    assert np.array_equal(ring.array[:steps], expected)


@pytest.mark.parametrize("dtype", RINGS)
def test_a_current_adds_the_same_in_each_step(dtype: str) -> None:
    values = np.arange(-50, 51, dtype=RINGS[dtype])
    ring = Ring(np.ones((16, 101), RINGS[dtype]), 1.0)
    engine = CpuEngine([CurrentInput(ring, values)], block=4, threads=2)
    engine.run(3, 9)
    assert np.array_equal(ring.array[3:12], np.tile(values + 1, (9, 1)))
    assert (ring.array[:3] == 1).all()
    assert (ring.array[12:] == 1).all()
