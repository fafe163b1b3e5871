"""Connections by distance against a dense matrix of distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesim.errors import UserError
from spikesim.network import (
    DistanceDependent,
    ExponentialProfile,
    FlatProfile,
    GaussianProfile,
    Synapses,
    lattice,
)


def dense(a: np.ndarray, b: np.ndarray, period: np.ndarray | None) -> np.ndarray:
    way = np.abs(a[:, None] - b[None])
    if period is not None:
        way = np.minimum(way % period, period - way % period)
    return np.sqrt((way**2).sum(-1))


def connected(synapses: Synapses) -> np.ndarray:
    found = np.zeros((synapses.n_pre, synapses.n_post), bool)
    found[synapses.sources, synapses.target] = True
    assert found.sum() == synapses.count
    return found


@given(
    sizes=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    axes=st.integers(1, 3),
    radius=st.floats(0.01, 3.0) | st.just(np.inf),
    closes=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_all_within_the_radius_and_no_others(
    sizes: tuple[int, int], axes: int, radius: float, closes: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # sources reach beyond the targets, and beyond the period
    pre, post = rng.uniform(-1, 2, (sizes[0], axes)), rng.uniform(0, 1, (sizes[1], axes))
    period = np.array([1.0, 1.5, 2.0])[:axes] if closes else None
    rule = DistanceDependent(FlatProfile(), pre, post, radius=radius, period=period)
    synapses = rule.build(*sizes)
    distance = dense(pre, post, period)
    sure = np.abs(distance - radius) > 1e-9
    assert np.array_equal(connected(synapses)[sure], (distance <= radius)[sure])
    assert np.allclose(synapses.distance, distance[synapses.sources, synapses.target], atol=1e-6)
    rows = np.split(synapses.target, synapses.indptr[1:-1])
    assert all((np.diff(row) > 0).all() for row in rows)


@pytest.mark.parametrize(
    "profile",
    [
        GaussianProfile(0.15, p=0.8),
        ExponentialProfile(0.1),
        FlatProfile(0.3),
        lambda d: np.where(d < 0.2, 0.1, 0.6 * (d < 0.4)),
    ],
)
@pytest.mark.parametrize("period", [None, (1.0, 1.0)])
def test_probability_is_that_of_the_profile(profile: object, period: tuple | None) -> None:
    points = lattice((30, 40), extent=(1.0, 1.0))
    rule = DistanceDependent(profile, points, radius=0.5, period=period)
    distance = dense(points, points, None if period is None else np.array(period))
    p = np.where(distance <= 0.5, profile(distance), 0.0)
    found = sum(connected(rule.build(1200, 1200, seed=s)).astype(int) for s in range(3))
    for low in np.arange(0.0, 0.6, 0.05):
        here = (distance >= low) & (distance < low + 0.05)
        deviation = np.sqrt(3 * (p * (1 - p))[here].sum())
        assert abs(found[here].sum() - 3 * p[here].sum()) <= 5 * deviation
    # to 256 of 1200 rows
    assert abs(rule.expected(1200, 1200) / p.sum() - 1) < 0.02


def test_threads_and_a_wider_radius_leave_each_draw_as_it_is() -> None:
    points = lattice((50, 60))
    near = DistanceDependent(GaussianProfile(4.0), points, radius=9.0)
    first = near.build(3000, 3000, seed=5)
    again = near.build(3000, 3000, seed=5, threads=2)
    assert np.array_equal(first.indptr, again.indptr)
    assert np.array_equal(first.target, again.target)
    assert np.array_equal(first.distance, again.distance)
    # 9 million pairs are looked at in several parts
    far = DistanceDependent(GaussianProfile(4.0), points).build(3000, 3000, seed=5, threads=2)
    kept = far.distance <= 9.0
    assert np.array_equal(far.target[kept], first.target)
    assert np.array_equal(far.sources[kept], first.sources)


def test_autapses_lie_at_distance_zero() -> None:
    points = lattice((4, 4))
    rule = DistanceDependent(FlatProfile(), points, autapses=False)
    assert not connected(rule.build(16, 16, same=True)).diagonal().any()
    assert connected(rule.build(16, 16)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianProfile(0.0), "sigma must be > 0, got 0.0"),
        (
            lambda: ExponentialProfile(1.0, p=1.5),
            "p must be a probability between 0 and 1, got 1.5",
        ),
        (lambda: FlatProfile(-0.2), "between 0 and 1, got -0.2"),
        (
            lambda: DistanceDependent(FlatProfile(), np.ones(3)),
            r"\[count, 1 to 3\], got shape \[3\]",
        ),
        (
            lambda: DistanceDependent(FlatProfile(), [[np.nan]]),
            r"positions pre\[0, 0\] must be finite, got nan",
        ),
        (lambda: DistanceDependent(FlatProfile(), [[1.0]], [[1.0, 2.0]]), "pre has 1 axes, post 2"),
        (lambda: DistanceDependent(FlatProfile(), [[1.0]], radius=-1.0), "radius must be > 0"),
        (
            lambda: DistanceDependent(FlatProfile(), [[1.0]], period=(1.0, 1.0)),
            "period must be 1 lengths > 0",
        ),
        (
            lambda: DistanceDependent(FlatProfile(), [[1.0]]).build(2, 1),
            "pre has positions of 1 neurons, the population has 2",
        ),
        (
            lambda: DistanceDependent(lambda d: d - 1.0, [[1.0], [4.0]]).build(2, 2),
            "the profile gives -1.0 at distance 0; a probability lies between 0 and 1",
        ),
    ],
)
def test_bad_input_is_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
