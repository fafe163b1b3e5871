"""Weights, delays and first states from constants, arrays and distributions."""

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import (
    Convolution,
    DistanceDependent,
    Explicit,
    Exponential,
    FlatProfile,
    LogNormal,
    Normal,
    Uniform,
)
from spikesim.network.values import Distribution, resolve

COUNT = 200_000
LEAST_P = 1e-3


def frozen(distribution: Distribution) -> object:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    match distribution:
        case Uniform():
            return stats.uniform(distribution.low, distribution.high - distribution.low)
        case Normal():
            return stats.norm(distribution.mean, distribution.std)
        case LogNormal():
            return stats.lognorm(distribution.sigma, scale=np.exp(distribution.mu))
        case Exponential():
            return stats.expon(scale=distribution.mean)
    raise AssertionError


@pytest.mark.parametrize(
    "distribution",
    [Uniform(-60.0, -50.0), Normal(1.5, 0.75), LogNormal(-0.7, 0.9), Exponential(4.0)],
    ids=str,
)
def test_draws_follow_the_distribution(distribution: Distribution) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    values = distribution.draw(COUNT, seed=3)
    law = frozen(distribution)
    assert stats.kstest(values, law.cdf).pvalue > LEAST_P
    assert abs(values.mean() - law.mean()) < 4 * law.std() / np.sqrt(COUNT)
    # neighbours are not correlated, nor are seeds
    other = distribution.draw(COUNT, seed=4)
    for pair in ((values[:-1], values[1:]), (values, other)):
        assert abs(np.corrcoef(*pair)[0, 1]) < 5 / np.sqrt(COUNT)


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    law = Normal(0.0, 1.0, low=-0.5, outside="redraw")
    assert np.array_equal(law.draw(100, seed=9), law.draw(1000, seed=9)[:100])
    assert not np.array_equal(law.draw(100, seed=9), law.draw(100, seed=9 + 2**32))


def test_clipping_puts_the_tails_on_the_bounds() -> None:
    free = Normal(1.0, 1.0).draw(COUNT, seed=1)
    values = Normal(1.0, 1.0, low=0.0, high=2.5).draw(COUNT, seed=1)
    assert np.array_equal(values, np.clip(free, 0.0, 2.5))
    assert abs((values == 0.0).mean() - 0.158655) < 5 * np.sqrt(0.1335 / COUNT)


def test_redrawing_truncates() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    values = Normal(1.0, 1.0, low=0.0, high=1.2, outside="redraw").draw(COUNT, seed=1)
    assert values.min() >= 0.0
    assert values.max() <= 1.2
    assert stats.kstest(values, stats.truncnorm(-1.0, 0.2, 1.0, 1.0).cdf).pvalue > LEAST_P


def test_constants_stay_one_number_and_arrays_are_laid_out() -> None:
    assert resolve(1.5, 10, 0) == 1.5
    assert isinstance(resolve(np.float32(1.5), 10, 0), float)
    assert np.array_equal(resolve([[1, 2], [3, 4]], 4, 0), [1.0, 2.0, 3.0, 4.0])
    synapses = Explicit([1, 0], [0, 1]).build(2, 2)
    assert np.array_equal(resolve([5.0, 6.0], synapses, 0), [6.0, 5.0])


def test_a_distribution_is_drawn_once_for_each_entry() -> None:
    rule = Convolution((1, 6, 6), channels=2, kernel_size=3)
    synapses = rule.build(36, 32)
    kernel = Normal(0.0, 1.0).draw(18, seed=2)
    assert np.array_equal(
        resolve(Normal(0.0, 1.0), synapses, 2), synapses.spread(kernel.reshape(rule.kernel_shape))
    )


def test_a_function_sees_the_distances() -> None:
    points = np.array([[0.0], [3.0], [7.0]])
    synapses = DistanceDependent(FlatProfile(), points).build(3, 3)
    delays = resolve(lambda d: 0.5 + d / 2, synapses, 0)
    assert np.allclose(delays.reshape(3, 3), 0.5 + np.abs(points - points.T) / 2)
    with pytest.raises(UserError, match="needs synapses of a rule that knows positions"):
        resolve(lambda d: d, 3, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(2.0, 1.0), "low must be <= high, got 2.0 and 1.0"),
        (lambda: Uniform(0.0, np.inf), "must be finite"),
        (lambda: Normal(0.0, -1.0), "std must be >= 0 and finite, got -1.0"),
        (lambda: Normal(np.nan, 1.0), "mean must be a number, got nan"),
        (lambda: Normal(np.inf, 1.0), "mean must be finite, got inf"),
        (lambda: LogNormal(0.0, np.inf), "sigma must be >= 0 and finite, got inf"),
        (lambda: Exponential(-2.0), "mean must be >= 0 and finite, got -2.0"),
        (
            lambda: Normal(0.0, 1.0, outside="drop"),
            "outside must be 'clip' or 'redraw', got 'drop'",
        ),
        (
            lambda: Normal(0.0, 1.0, low=50.0, outside="redraw").draw(3, 0),
            "no number between low and high in 1000 attempts",
        ),
        (lambda: resolve(np.nan, 3, 0), "value must be finite, got nan"),
        (
            lambda: resolve([[1.0, 2.0], [np.inf, 0.0]], 4, 0),
            r"value\[1, 0\] must be finite, got inf",
        ),
        (lambda: resolve([1.0, 2.0], 3, 0), r"shape \[2\] does not fit 3 neurons; expected \[3\]"),
    ],
)
def test_bad_values_are_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
