"""Connection rules against what their names promise, and against scipy's distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesim.errors import UserError
from spikesim.network import (
    AllToAll,
    Explicit,
    FixedIndegree,
    FixedOutdegree,
    FixedProbability,
    FixedTotalNumber,
    OneToOne,
    Rule,
    Synapses,
)

LEAST_P = 1e-3
"""Of a chi-square test: the seeds are fixed, so that it passes always or never."""


def matrix(synapses: Synapses) -> np.ndarray:
    """How many synapses each pair has, ``[n_pre, n_post]``."""
    counts = np.zeros((synapses.n_pre, synapses.n_post), np.int64)
    np.add.at(counts, (synapses.sources, synapses.target), 1)
    return counts


def check_rows(synapses: Synapses, n_pre: int, n_post: int) -> None:
    assert synapses.indptr.dtype == np.int64
    assert synapses.target.dtype == np.int32
    assert (synapses.n_pre, synapses.n_post) == (n_pre, n_post)
    assert synapses.indptr[0] == 0
    assert synapses.indptr[-1] == synapses.target.size == synapses.count
    assert (np.diff(synapses.indptr) >= 0).all()
    if synapses.count:
        assert 0 <= synapses.target.min() <= synapses.target.max() < n_post
    falls = np.flatnonzero(np.diff(synapses.target) < 0) + 1
    assert np.isin(falls, synapses.indptr).all()


def chi_square_p(observed: np.ndarray, expected: np.ndarray) -> float:
    """Of counts in bins, the thin ones at both ends put together."""
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    thick = np.flatnonzero(expected >= 5.0)
    first, last = thick[0], thick[-1]
    edges = [0, *range(first + 1, last + 1)]
    observed, expected = (np.add.reduceat(x, edges) for x in (observed, expected))
    return float(stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


def degree_p(degrees: np.ndarray, distribution: object) -> float:
    """Chi-square test of degrees against a frozen distribution of scipy."""
    top = int(degrees.max()) + 2
    observed = np.bincount(degrees, minlength=top)
    expected = degrees.size * distribution.pmf(np.arange(top))
    expected[-1] += degrees.size * distribution.sf(top - 1)
    return chi_square_p(observed, expected)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rule, int, int, bool]:
    n_pre, n_post = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    same = draw(st.booleans())
    n_post = n_pre if same else n_post
    auto, multi = draw(st.booleans()), draw(st.booleans())
    loops = same and not auto
    sources, targets = n_pre - loops, n_post - loops
    most = 2**63 if multi else 1
    kind = draw(st.sampled_from(["all", "p", "in", "out", "total", "list"]))
    if kind == "all":
        return AllToAll(auto), n_pre, n_post, same
    if kind == "p":
        return FixedProbability(draw(st.floats(0.0, 1.0)), auto), n_pre, n_post, same
    if kind == "list":
        indices = st.tuples(st.integers(0, n_pre - 1), st.integers(0, n_post - 1))
        pairs = np.array(draw(st.lists(indices, max_size=200)), np.int64).reshape(-1, 2)
        return Explicit(pairs[:, 0], pairs[:, 1]), n_pre, n_post, same
    choices = {"in": sources, "out": targets, "total": n_pre * targets}[kind]
    most = (3 * choices if multi else choices) if choices else 0
    rule = {"in": FixedIndegree, "out": FixedOutdegree, "total": FixedTotalNumber}[kind]
    return rule(draw(st.integers(0, most)), auto, multi), n_pre, n_post, same


@given(case=cases(), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=150, deadline=None)
def test_any_rule_keeps_its_promises(case: tuple[Rule, int, int, bool], seed: int) -> None:
    rule, n_pre, n_post, same = case
    synapses = rule.build(n_pre, n_post, same=same, seed=seed)
    check_rows(synapses, n_pre, n_post)
    counts = matrix(synapses)
    if same and not getattr(rule, "autapses", True):
        assert counts.diagonal().sum() == 0
    if not getattr(rule, "multapses", True) or isinstance(rule, AllToAll | FixedProbability):
        assert counts.max() <= 1
    if isinstance(rule, FixedIndegree):
        assert (synapses.in_degree == rule.k).all()
    if isinstance(rule, FixedOutdegree):
        assert (synapses.out_degree == rule.k).all()
    if not isinstance(rule, FixedProbability):
        assert synapses.count == rule.expected(n_pre, n_post, same=same)
    for threads in (2, 3):
        again = rule.build(n_pre, n_post, same=same, seed=seed, threads=threads)
        assert np.array_equal(again.indptr, synapses.indptr)
        assert np.array_equal(again.target, synapses.target)
        assert np.array_equal(again.index, synapses.index)


RANDOM = [
    FixedProbability(0.1),
    FixedIndegree(60),
    FixedIndegree(60, multapses=False),
    FixedIndegree(400, autapses=False, multapses=False),
    FixedOutdegree(60),
    FixedOutdegree(60, multapses=False),
    FixedTotalNumber(30_000),
    FixedTotalNumber(30_000, multapses=False),
    FixedTotalNumber(200_000, multapses=False, autapses=False),
]


@pytest.mark.parametrize("rule", RANDOM, ids=str)
def test_many_threads_draw_the_same_and_another_seed_does_not(rule: Rule) -> None:
    first = rule.build(500, 500, same=True, seed=7)
    for threads in (2, 5):
        again = rule.build(500, 500, same=True, seed=7, threads=threads)
        assert np.array_equal(again.target, first.target)
        assert np.array_equal(again.indptr, first.indptr)
    high = rule.build(500, 500, same=True, seed=7 + 2**32)
    assert not np.array_equal(high.target, first.target)


@pytest.mark.parametrize("p", [0.003, 0.1, 0.5, 0.97])
def test_degrees_of_fixed_probability_are_binomial(p: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    synapses = FixedProbability(p).build(3000, 2000, seed=11)
    assert degree_p(synapses.out_degree, stats.binom(2000, p)) > LEAST_P
    assert degree_p(synapses.in_degree, stats.binom(3000, p)) > LEAST_P
    total = stats.binom(6_000_000, p)
    assert abs(synapses.count - total.mean()) < 4 * total.std()


def test_probability_below_the_table_of_gaps() -> None:
    """Gaps beyond the table go on from its end."""
    synapses = FixedProbability(2e-5).build(300, 100_000, seed=3)
    assert abs(synapses.count - 600) < 4 * np.sqrt(600)
    halves = np.bincount(synapses.target // 50_000)
    assert abs(halves[0] - halves[1]) < 4 * np.sqrt(600)


def test_certain_and_impossible_connections() -> None:
    assert FixedProbability(1.0).build(5, 7).target.tolist() == list(range(7)) * 5
    assert FixedProbability(0.0).build(5, 7).count == 0


def test_out_degrees_of_fixed_indegree_are_binomial() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    # With multapses each of the k * n_post draws hits a source with probability 1 / n_pre.
    synapses = FixedIndegree(50).build(2000, 3000, seed=5)
    assert degree_p(synapses.out_degree, stats.binom(50 * 3000, 1 / 2000)) > LEAST_P
    pair = np.bincount(matrix(synapses).ravel())
    expected = 6e6 * stats.binom(50, 1 / 2000).pmf(np.arange(pair.size))
    assert chi_square_p(pair, expected) > LEAST_P
    # Without, each target takes a source or not, with probability k / n_pre.
    for k in (50, 1700):
        synapses = FixedIndegree(k, multapses=False).build(2000, 3000, seed=5)
        assert degree_p(synapses.out_degree, stats.binom(3000, k / 2000)) > LEAST_P


@pytest.mark.parametrize("k", [60, 300])
def test_sources_that_two_targets_share_are_hypergeometric(k: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    taken = matrix(FixedIndegree(k, multapses=False).build(400, 4000, seed=2))
    shared = (taken[:, ::2] * taken[:, 1::2]).sum(0)
    assert degree_p(shared, stats.hypergeom(400, k, k)) > LEAST_P


def test_in_degrees_of_fixed_outdegree_are_binomial() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    synapses = FixedOutdegree(50).build(3000, 2000, seed=5)
    assert degree_p(synapses.in_degree, stats.binom(50 * 3000, 1 / 2000)) > LEAST_P
    synapses = FixedOutdegree(50, multapses=False).build(3000, 2000, seed=5)
    assert degree_p(synapses.in_degree, stats.binom(3000, 50 / 2000)) > LEAST_P


@pytest.mark.parametrize("n", [20_000, 1_500_000])
def test_degrees_of_a_fixed_total_number(n: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the test needs scipy's distributions")
    synapses = FixedTotalNumber(n).build(2000, 1000, seed=9)
    assert degree_p(synapses.out_degree, stats.binom(n, 1 / 2000)) > LEAST_P
    assert degree_p(synapses.in_degree, stats.binom(n, 1 / 1000)) > LEAST_P
    synapses = FixedTotalNumber(n, multapses=False).build(2000, 1000, seed=9)
    assert degree_p(synapses.out_degree, stats.hypergeom(2_000_000, 1000, n)) > LEAST_P
    assert degree_p(synapses.in_degree, stats.hypergeom(2_000_000, 2000, n)) > LEAST_P


@pytest.mark.parametrize("rule", RANDOM, ids=str)
def test_each_pair_is_equally_likely(rule: Rule) -> None:
    """Sums over stripes of the matrix, which any lack of evenness in rows or columns moves."""
    counts = sum(matrix(rule.build(500, 500, same=True, seed=s)) for s in range(8))
    away = ~np.eye(500, dtype=bool) if not getattr(rule, "autapses", True) else np.ones((500, 500))
    mean = counts.sum() / away.sum()
    for axis in (0, 1):
        stripes = (counts.sum(axis) - mean * away.sum(axis)).reshape(10, 50).sum(1)
        assert np.abs(stripes).max() < 5.0 * np.sqrt(mean * 50 * 500)
    block = (counts - mean * away)[:250, 250:].sum()
    assert abs(block) < 5.0 * np.sqrt(mean * 250 * 250)


def test_one_to_one_and_all_to_all() -> None:
    assert np.array_equal(matrix(OneToOne().build(6, 6)), np.eye(6))
    assert np.array_equal(matrix(AllToAll().build(4, 6)), np.ones((4, 6)))
    loopless = AllToAll(autapses=False)
    assert np.array_equal(matrix(loopless.build(5, 5, same=True)), 1 - np.eye(5))
    # Two populations have no autapses.
    assert np.array_equal(matrix(loopless.build(5, 5)), np.ones((5, 5)))


def test_given_pairs_keep_their_values_and_the_order_of_equal_ones() -> None:
    rule = Explicit(pre=[2, 0, 2, 2], post=[1, 3, 0, 1])
    synapses = rule.build(3, 4)
    assert synapses.sources.tolist() == [0, 2, 2, 2]
    assert synapses.target.tolist() == [3, 0, 1, 1]
    assert synapses.spread([10.0, 20.0, 30.0, 40.0]).tolist() == [20.0, 30.0, 10.0, 40.0]


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_scipy_matrix_comes_back(layout: str) -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="the test needs scipy's matrices")
    weights = sparse.random_array((30, 40), density=0.2, rng=np.random.default_rng(0))
    given = weights.asformat(layout)
    synapses = Explicit.from_scipy(given).build(30, 40)
    check_rows(synapses, 30, 40)
    back = synapses.to_scipy(given.data)
    assert np.array_equal(back.toarray(), weights.toarray())
    csr = weights.tocsr()
    rows = Explicit.from_csr(csr.indptr, csr.indices).build(30, 40)
    assert np.array_equal(rows.to_scipy(csr.data).toarray(), weights.toarray())


def test_values_by_pair_and_by_synapse() -> None:
    synapses = FixedIndegree(2).build(4, 3, seed=1)
    table = np.arange(12.0).reshape(4, 3)
    assert np.array_equal(synapses.spread(table), table[synapses.sources, synapses.target])
    assert synapses.spread(np.arange(6.0)).tolist() == list(range(6))
    with pytest.raises(UserError, match=r"shape \[5\] does not fit 6 synapses; expected \[6\]"):
        synapses.spread(np.ones(5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedProbability(-0.1), "p must be a probability between 0 and 1, got -0.1"),
        (lambda: FixedProbability(float("nan")), "between 0 and 1, got nan"),
        (lambda: FixedIndegree(-1), "indegree k must be a whole number >= 0, got -1"),
        (lambda: FixedOutdegree(1.5), "outdegree k must be a whole number >= 0, got 1.5"),
        (lambda: FixedIndegree(6, multapses=False).build(5, 9), "there are 5; pass multapses=True"),
        (
            lambda: FixedIndegree(5, autapses=False, multapses=False).build(5, 5, same=True),
            "indegree of 5 without multapses needs as many sources, there are 4",
        ),
        (lambda: FixedOutdegree(6, multapses=False).build(9, 5), "as many targets, there are 5"),
        (lambda: FixedIndegree(1).build(0, 5), "at least one source"),
        (lambda: FixedOutdegree(1, autapses=False).build(1, 1, same=True), "at least one target"),
        (lambda: FixedTotalNumber(21, multapses=False).build(4, 5), "pairs, there are 20"),
        (lambda: FixedTotalNumber(1).build(4, 0), "need at least one pair"),
        (lambda: OneToOne().build(4, 5), "equal sizes, got 4 sources, 5 targets"),
        (lambda: AllToAll().build(4, 5, same=True), "4 neurons is not one of 5"),
        (lambda: AllToAll().build(-1, 5), "n_pre must be between 0"),
        (
            lambda: Explicit([0, 9, 1], [0, 0, 0]).build(5, 5),
            r"pre\[1\] = 9 is out of range.*0 to 4",
        ),
        (lambda: Explicit([0, 1], [0, -2]).build(5, 5), r"post\[1\] = -2 is out of range"),
        (lambda: Explicit([0, 1], [0]), "one length, got 2 and 1"),
        (lambda: Explicit([0.5], [0]), "pre must be whole numbers"),
        (lambda: Explicit.from_csr([0, 2, 1], [3]), "indptr must rise"),
        (lambda: Explicit.from_csr([0, 2], [3]), "to the number of indices, 1"),
    ],
)
def test_bad_input_is_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_nothing_to_connect() -> None:
    for rule in (AllToAll(), FixedProbability(0.5), FixedIndegree(0), FixedTotalNumber(0)):
        for n_pre, n_post in ((0, 0), (0, 4), (4, 0)):
            check_rows(rule.build(n_pre, n_post), n_pre, n_post)
    check_rows(Explicit([], []).build(3, 3), 3, 3)
