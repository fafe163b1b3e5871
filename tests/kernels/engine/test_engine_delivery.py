"""Deliveries against slow loops: every spike adds its weights where and when it should."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikesim.kernels import engine_tables
from spikesim.kernels.engine import CpuEngine, Delivery, Ring, StateRecorder

SLOTS = 128
STEPS = 150  # more than the slots: the ring wraps


@dataclass
class Synapses:
    """A random projection, and what it delivers."""

    raster: NDArray[np.bool_]
    indptr: NDArray[np.int64]
    target: NDArray[np.int64]
    delay: NDArray[np.int64]
    weight: NDArray[np.int64]
    post: int

    def arrived(self) -> NDArray[np.int64]:
        """``[steps, post]``: the sum of the weights that arrive in each step."""
        found = np.zeros((STEPS + SLOTS, self.post), np.int64)
        for step, sender in np.argwhere(self.raster):
            for k in range(self.indptr[sender], self.indptr[sender + 1]):
                found[step + self.delay[k], self.target[k]] += self.weight[k]
        return found[:STEPS]

    def delivery(self, source: Any, ring: Ring, place: str, weight: str | None) -> Delivery:
        """Equal delays and weights are given as one number."""
        is_spread = len(set(self.delay.tolist())) > 1
        at = self.delay * self.post + self.target if is_spread else self.target
        delay = None if is_spread else int(self.delay[0])
        given = int(self.weight[0]) if weight is None else self.weight.astype(weight)
        return Delivery(source, ring, self.indptr, at.astype(place), delay, given)


def synapses(
    seed: int, pre: int, post: int, indegree: int, delays: tuple[int, int], weights: tuple[int, int]
) -> Synapses:
    random = np.random.default_rng(seed)
    many = random.integers(0, indegree + 1, pre)
    many[random.integers(0, pre)] = indegree
    indptr = np.concatenate([[0], np.cumsum(many)])
    rows = [np.sort(random.integers(0, post, n)) for n in many]  # a target may come twice
    total = int(indptr[-1])
    return Synapses(
        random.random((STEPS, pre)) < 0.1,
        indptr,
        np.concatenate(rows),
        random.integers(delays[0], delays[1] + 1, total),
        random.integers(weights[0], weights[1] + 1, total),
        post,
    )


def run(
    make: Any,
    of: Synapses,
    block: int,
    threads: int,
    dtype: str,
    place: str,
    weight: str | None,
    cuts: tuple[int, ...] = (),
) -> NDArray[np.float64]:
    """``[steps, post]``: what cells read from the ring."""
    kind = np.int64 if dtype == "float64" else np.int32
    ring = Ring(np.zeros((SLOTS, of.post), kind), 0.25)
    source = make.given(of.raster, block)
    cells = make.cells(make.Relay(), of.post, dtype, {"x": ring}, block)
    everyone = np.arange(of.post, dtype=np.int32)
    recorder = StateRecorder(cells, "v", everyone, np.full((STEPS, of.post), np.nan, dtype))
    delivery = of.delivery(source, ring, place, weight)
    engine = CpuEngine([source, cells, recorder, delivery], block, threads)
    ends = [*sorted(cuts), STEPS]
    for first, end in zip([0, *ends], ends, strict=False):
        engine.run(first, end - first)
    return recorder.values / 0.25


sizes = st.sampled_from([1, 2, 33, 64, 200, 1025])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    pre=sizes,
    post=sizes,
    log_block=st.integers(0, 4),
    threads=st.sampled_from([1, 1, 2, 3]),
    dtype=st.sampled_from(["float32", "float64"]),
    is_spread=st.booleans(),
    weight=st.sampled_from([None, "int8", "int16", "int32", "int64"]),
    cuts=st.tuples(st.integers(0, STEPS), st.integers(0, STEPS)),
)
def test_every_spike_arrives(
    make: Any,
    seed: int,
    pre: int,
    post: int,
    log_block: int,
    threads: int,
    dtype: str,
    is_spread: bool,
    weight: str | None,
    cuts: tuple[int, int],
) -> None:
    block = 2**log_block
    shortest = block + seed % 5
    one = 1 + seed % 9
    of = synapses(
        *(seed, pre, post, 1 + seed % 40),
        (shortest, 64 if is_spread else shortest),
        (one, one) if weight is None else (-100, 100),
    )
    place = "uint32" if is_spread else ("uint16", "uint32")[seed % 2]
    got = run(make, of, block, threads, dtype, place, weight, cuts)
    assert np.array_equal(got, of.arrived())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_slot_larger_than_the_nearest_cache(
    make: Any, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(engine_tables, "NEAR", 512)
    of = synapses(1, 50, 1025, 300, (9, 9), (-100, 100))
    got = run(make, of, 8, threads, "float32", "uint16", "int32")
    assert np.array_equal(got, of.arrived())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", [1, 8])
def test_a_delay_of_zero_arrives_in_the_same_step(make: Any, block: int, threads: int) -> None:
    of = synapses(2, 200, 300, 20, (0, 3), (-100, 100))
    ring = Ring(np.zeros((SLOTS, of.post), np.int32), 1.0)
    source = make.given(of.raster, block)
    cells = make.cells(make.Relay(), of.post, "float32", {"x": ring}, block)
    everyone = np.arange(of.post, dtype=np.int32)
    recorder = StateRecorder(cells, "v", everyone, np.full((STEPS, of.post), np.nan, "float32"))
    delivery = of.delivery(source, ring, "uint32", "int16")
    CpuEngine([source, delivery, cells, recorder], block, threads).run(0, STEPS)
    assert np.array_equal(recorder.values, of.arrived())


def test_sums_wrap_like_integers(make: Any) -> None:
    """What cannot be held was refused before; the sum itself does not depend on its order."""
    raster = np.zeros((STEPS, 3), bool)
    raster[0] = True
    weight = np.array([2**31 - 1, 2**31 - 1, -(2**31 - 1)])
    of = Synapses(raster, np.arange(4), np.zeros(3, np.int64), np.full(3, 1), weight, 1)
    got = run(make, of, 1, 1, "float32", "uint16", "int32")
    assert got[1, 0] == np.float32(2**31 - 1)
