"""Synapses made by CUDA kernels, on the host and on a device: the bits of the numba loops."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from host_cuda import HostModule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikesim.errors import UserError
from spikesim.kernels import builder_cupy, connect_cupy, connect_numba
from spikesim.kernels.builder import Builder
from spikesim.kernels.builder_cupy import CudaBuilder
from spikesim.kernels.builder_numba import CpuBuilder
from spikesim.kernels.connect import words_of
from spikesim.network import (
    AllToAll,
    Convolution,
    Explicit,
    Exponential,
    FixedIndegree,
    FixedOutdegree,
    FixedProbability,
    FixedTotalNumber,
    LogNormal,
    Network,
    Normal,
    OneToOne,
    Uniform,
)
from spikesim.network.build import build
from spikesim.network.rule import DrawnRule
from spikesim.network.values import Distribution
from spikesim.neurons import LIFExp

CPU = CpuBuilder()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device of kernels that run on the host."""
    monkeypatch.setattr(connect_cupy, "_module", lambda: HostModule(connect_cupy.cuda_text()))
    monkeypatch.setattr(builder_cupy, "_module", lambda: HostModule(builder_cupy.cuda_text()))
    return torch.device("cpu")


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def builder(request: pytest.FixtureRequest) -> CudaBuilder:
    if request.param == "host":
        return CudaBuilder(request.getfixturevalue("host"))
    return CudaBuilder(torch.device("cuda"))


def same(given: np.ndarray, wanted: np.ndarray) -> None:
    assert given.dtype == wanted.dtype
    assert given.shape == wanted.shape
    np.testing.assert_array_equal(given.view(np.uint8), wanted.view(np.uint8))


def check_rule(
    builder: Builder, rule: DrawnRule, n_pre: int, n_post: int, is_same: bool, seed: int
) -> None:
    how = (n_pre, n_post)
    given = rule.rows(*how, same=is_same, seed=seed, builder=builder)
    wanted = rule.rows(*how, same=is_same, seed=seed, builder=CPU)
    for g, w in zip(given, wanted, strict=True):
        same(builder.download(g), w)


RULES: list[DrawnRule] = [
    AllToAll(),
    AllToAll(autapses=False),
    OneToOne(),
    FixedProbability(0.07),
    FixedProbability(2e-5),
    FixedProbability(1.0, autapses=False),
    FixedProbability(0.0),
    FixedIndegree(33),
    FixedIndegree(150, autapses=False, multapses=False),
    FixedIndegree(33, multapses=False),
    FixedIndegree(300, multapses=False),
    FixedOutdegree(33, autapses=False),
    FixedOutdegree(160, multapses=False),
    FixedTotalNumber(5001),
    FixedTotalNumber(5001, autapses=False),
    FixedTotalNumber(5001, multapses=False),
    FixedTotalNumber(80_000, multapses=False, autapses=False),
    FixedTotalNumber(0),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rows_are_those_of_the_cpu(builder: CudaBuilder, rule: DrawnRule) -> None:
    check_rule(builder, rule, 300, 300, True, 2**40 + 3)
    check_rule(builder, rule, 300, 300, False, 5)


@st.composite
def cases(draw: st.DrawFn) -> tuple[DrawnRule, int, int, bool]:
    n_pre, n_post = draw(st.integers(0, 70)), draw(st.integers(0, 70))
    is_same = draw(st.booleans())
    n_post = n_pre if is_same else n_post
    auto, multi = draw(st.booleans()), draw(st.booleans())
    loops = is_same and not auto
    sources, targets = max(n_pre - loops, 0), max(n_post - loops, 0)
    kind = draw(st.sampled_from([AllToAll, FixedProbability, FixedIndegree, FixedOutdegree,
                                 FixedTotalNumber]))  # fmt: skip
    if kind is AllToAll:
        return AllToAll(auto), n_pre, n_post, is_same
    if kind is FixedProbability:
        return FixedProbability(draw(st.floats(0.0, 1.0)), auto), n_pre, n_post, is_same
    choices = {FixedIndegree: sources, FixedOutdegree: targets, FixedTotalNumber: n_pre * targets}
    most = choices[kind] * (3 if multi else 1)
    return kind(draw(st.integers(0, most)), auto, multi), n_pre, n_post, is_same


@given(case=cases(), seed=st.integers(0, 2**64 - 1))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_rule_builds_the_rows_of_the_cpu(
    host: torch.device, case: tuple[DrawnRule, int, int, bool], seed: int
) -> None:
    check_rule(CudaBuilder(host), *case, seed)


def test_blocks_take_many_rows(builder: CudaBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_cupy, "_SEEN", 4 * 10 * 3)  # bits of three rows
    check_rule(builder, FixedIndegree(40, multapses=False), 300, 50, False, 1)


def test_biased_words_are_drawn_anew(builder: CudaBuilder) -> None:
    """Of so many columns every third word is rejected."""
    seed, many, rows, degree = 2**35 + 5, 1_500_000_000, 3, 41
    scratch, key = np.empty(2048, np.uint32), words_of(seed)
    keys = connect_cupy.drawn(rows, many, degree, False, False, seed, False, builder.device)
    keys = builder.download(keys).reshape(rows, degree)
    for row in range(rows):
        out = np.empty(degree, np.int32)
        connect_numba.draw_columns(out, 0, many, scratch, key, row)
        assert sorted(keys[row] - row * many) == sorted(out)
    sources, targets = np.empty(degree, np.int32), np.empty(degree, np.int32)
    connect_numba.draw_pairs(sources, targets, many, 3, False, scratch, key, 1)
    keys = connect_cupy.pairs(degree, many, 3, False, seed, builder.device, 1024)
    assert builder.download(keys).tolist() == (sources.astype(np.int64) * 3 + targets).tolist()


LAWS: list[Distribution] = [
    Uniform(-3.0, 8.0),
    Normal(1.5, 0.75),
    Normal(1.5, 0.75, 0.0, 2.0),
    Normal(1.5, 0.75, 1.0, 2.0, "redraw"),
    Normal(-87.8, 8.78, -np.inf, 0.0, "redraw"),
    LogNormal(0.3, 0.9),
    Exponential(1.7, 0.2, 3.0, "redraw"),
]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_values_are_those_of_the_cpu(builder: CudaBuilder, law: Distribution) -> None:
    for dtype in ("float32", "float64"):
        for count, seed in ((3001, 2**63 + 1), (0, 1)):
            wanted = CPU.draw(law.law, count, seed, dtype)
            same(builder.download(builder.draw(law.law, count, seed, dtype)), wanted)
    wanted = CPU.draw_steps(law.law, 3001, 7, 0.1)
    assert wanted.min() >= 1
    same(builder.download(builder.draw_steps(law.law, 3001, 7, 0.1)), wanted)


def test_bounds_that_no_attempt_meets_are_refused(builder: CudaBuilder) -> None:
    law = Normal(0.0, 1.0, low=50.0, outside="redraw").law
    with pytest.raises(UserError, match="no number between low and high in 1000 attempts"):
        builder.draw(law, 3, 0, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("neurons", "kind"), [(300, "uint16"), (70_000, "uint32")])
def test_places_and_sums_are_those_of_the_cpu(
    builder: CudaBuilder, dtype: Literal["float32", "float64"], neurons: int, kind: str
) -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, neurons, 4000).astype(np.int32)
    top = 2 ** (16 if kind == "uint16" else 32) // neurons
    steps = rng.integers(0, top, 4000).astype(np.int32)
    weight = rng.normal(0.0, 3.0, 4000).astype(dtype)
    for waits in (steps, None):
        wanted = CPU.place(target, waits, neurons, kind)
        given = builder.place(*(_up(builder, x) for x in (target, waits)), neurons, kind)
        same(builder.download(given), wanted)
        for weights in (weight, None):
            sums = builder.tally(given, _up(builder, weights), neurons)
            for g, w in zip(sums, CPU.tally(wanted, weights, neurons), strict=True):
                same(g, w)
    same(builder.download(builder.whole(_up(builder, weight), 2.0**-20)),
         CPU.whole(weight, 2.0**-20))  # fmt: skip
    assert builder.limits(_up(builder, weight)) == CPU.limits(weight)
    assert builder.limits(_up(builder, steps)) == CPU.limits(steps)
    zeros = np.where(weight > 1.0, weight, 0.0).astype(dtype)
    assert builder.count_nonzero(_up(builder, zeros)) == np.count_nonzero(zeros)


def connected(builder: Builder, dtype: Literal["float32", "float64"]) -> Network:
    """A network with a projection of each kind."""
    net = Network(dt=0.1, seed=5, dtype=dtype)
    net.builder = builder
    cells = net.population(LIFExp(), 360, name="cells")
    others = net.population(LIFExp(), 90, name="others")
    near = Normal(1.5, 0.75, 0.05, outside="redraw")
    size = Normal(87.8, 8.78, 0.0, outside="redraw")
    net.connect(cells, cells, FixedTotalNumber(9000), weight=size, delay=near)
    net.connect(cells, others, FixedIndegree(40), weight=LogNormal(3.0, 0.5), delay=0.8)
    net.connect(others, cells, FixedProbability(0.2), weight=-20.5, delay=Uniform(0.1, 300.0))
    net.connect(others, others, OneToOne(), weight=3.0)
    table = np.linspace(1.0, 2.0, 360 * 90).reshape(360, 90)
    net.connect(cells, others, FixedIndegree(10), weight=table, delay=near, name="given")
    net.connect(cells, others, Explicit([3, 1, 3], [0, 5, 2]), weight=[4.0, 5.0, 6.0], delay=size)
    net.connect(others, cells, Convolution((1, 9, 10), 5, 3, padding=(1, 0)), weight=size)
    net.connect(others, cells, FixedTotalNumber(0), weight=size, delay=near, name="none")
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_projections_are_those_of_the_cpu(
    builder: CudaBuilder, monkeypatch: pytest.MonkeyPatch, dtype: Literal["float32", "float64"]
) -> None:
    if builder.device.type == "cpu":
        monkeypatch.setattr(CudaBuilder, "free_bytes", lambda self: 1 << 30)
    given, wanted = (connected(made_by, dtype) for made_by in (builder, CPU))
    machines = build(given), build(wanted)
    assert [ring.quantum for ring in machines[0].rings.values()] == [
        ring.quantum for ring in machines[1].rings.values()
    ]
    for one, other in zip(given.projections, wanted.projections, strict=True):
        for name in ("indptr", "place", "weight"):
            g, w = getattr(one, name), getattr(other, name)
            if isinstance(w, np.ndarray):
                assert isinstance(g, torch.Tensor)
                same(builder.download(g), w)
            else:
                assert g == w
        assert (one.delay, one.receptor, one.typical()) == (
            other.delay, other.receptor, other.typical()
        )  # fmt: skip
        for name, column in one.table().items():
            same(column, other.table()[name])


def test_too_little_memory_on_the_device_is_refused(
    host: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CudaBuilder, "free_bytes", lambda self: 1 << 18)
    with pytest.raises(UserError, match=r"need about .* GiB, 0\.000244 GiB are free"):
        connected(CudaBuilder(host), "float32")


def _up(builder: Builder, values: np.ndarray | None) -> Any:
    return None if values is None else builder.upload(values)


def test_sums_are_rounded_up_and_those_of_their_targets() -> None:
    """Against numpy, on the CPU."""
    rng = np.random.default_rng(1)
    target = rng.integers(0, 50, 10_000).astype(np.int32)
    weight = rng.normal(0.0, 1e-3, 10_000).astype(np.float32)
    place = CPU.place(target, rng.integers(1, 9, 10_000).astype(np.int32), 50, "uint16")
    exact = np.bincount(target, np.abs(weight.astype(np.float64)), 50)
    for threads in (1, 3):
        sums, terms = CpuBuilder(threads).tally(place, weight, 50)
        assert np.array_equal(terms, np.bincount(target, minlength=50))
        assert (sums >= exact).all()
        assert (sums <= exact * (1 + 1e-6)).all()


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_make_the_same_values(threads: int) -> None:
    many, law = CpuBuilder(threads), Normal(1.5, 0.75, 1.0, 2.0, "redraw").law
    same(many.draw(law, 70_001, 3, "float32"), CPU.draw(law, 70_001, 3, "float32"))
    same(many.draw_steps(law, 70_001, 3, 0.1), CPU.draw_steps(law, 70_001, 3, 0.1))
    same(many.draw(law, 1, 3, "float32"), CPU.draw(law, 1, 3, "float32"))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "rule",
    [
        FixedProbability(0.1, autapses=False),
        FixedIndegree(1000, multapses=False),
        FixedOutdegree(700),
        FixedTotalNumber(20_000_000),
        FixedTotalNumber(2_000_000, multapses=False),
    ],
    ids=str,
)
def test_many_rows_are_those_of_the_cpu(rule: DrawnRule) -> None:
    check_rule(CudaBuilder(torch.device("cuda")), rule, 12_000, 12_000, True, 11)
