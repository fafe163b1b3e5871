"""The engine as a whole: the same bits however a run is divided, what it refuses, its cache."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim.kernels import engine_tables
from spikesim.kernels.engine import (
    Cells,
    CpuEngine,
    CurrentInput,
    Delivery,
    NoiseInput,
    Operation,
    PoissonInput,
    Ring,
    SpikeRecorder,
    SpikeSource,
    StateRecorder,
)
from spikesim.neurons import LIF
from spikesim.neurons.lif_exp import LIFExp

STEPS, SLOTS, COUNT = 100, 64, 700
QUANTUM = 2.0**-12


@dataclass
class Network:
    """Two populations with every kind of operation, in order of execution."""

    operations: list[Operation]
    cells: tuple[Cells, ...]
    spikes: tuple[SpikeRecorder, ...]
    rings: tuple[Ring, ...]

    def result(self) -> list[np.ndarray]:
        states = [array for cells in self.cells for array in cells.state.values()]
        return [*(r.bits for r in self.spikes), *states, *(ring.array for ring in self.rings)]


def network(make: Any, block: int, dtype: str = "float32") -> Network:
    random = np.random.default_rng(11)
    kind = np.int64 if dtype == "float64" else np.int32
    excitatory, inhibitory, current, other = (
        Ring(np.zeros((SLOTS, COUNT), kind), QUANTUM) for _ in range(4)
    )
    neuron = LIFExp(c_m=100.0, t_ref=1.0, dt=0.5)
    rings = {"excitatory": excitatory, "inhibitory": inhibitory, "current": current}
    a = make.cells(neuron, COUNT, dtype, rings, block)
    b = make.cells(LIF(tau=4.0), COUNT, dtype, {"x": other}, block)
    given = make.given(random.random((STEPS, 33)) < 0.2, block)

    def delivery(source: Any, ring: Ring, size: float, *, is_spread: bool) -> Delivery:
        many = random.integers(0, 30, source.count)
        indptr = np.concatenate([[0], np.cumsum(many)])
        target = np.concatenate([np.sort(random.integers(0, COUNT, n)) for n in many])
        if not is_spread:
            return Delivery(source, ring, indptr, target.astype(np.uint16), 8, int(size / QUANTUM))
        place = random.integers(8, 41, len(target)) * COUNT + target
        weight = np.rint(size * random.random(len(target)) / QUANTUM).astype(np.int32)
        return Delivery(source, ring, indptr, place.astype(np.uint32), None, weight)

    spikes = tuple(SpikeRecorder(s, make.bits(s.count, STEPS)) for s in (a, b, given))
    operations: list[Operation] = [
        PoissonInput(excitatory, 0.3, int(60.0 / QUANTUM), 5, 1),
        CurrentInput(current, np.full(COUNT, int(100.0 / QUANTUM), kind)),
        NoiseInput(other, 0.8, 0.9, 5, 2),
        *(given, a, b, *spikes),
        delivery(given, excitatory, 40.0, is_spread=False),
        delivery(a, excitatory, 25.0, is_spread=True),
        delivery(a, other, 0.3, is_spread=False),
        delivery(b, inhibitory, -30.0, is_spread=True),
    ]
    return Network(operations, (a, b), spikes, (excitatory, inhibitory, current, other))


@pytest.fixture(scope="module")
def expected(make: Any) -> list[np.ndarray]:
    whole = network(make, block=1)
    CpuEngine(whole.operations, block=1).run(0, STEPS)
    for recorder in whole.spikes:
        rate = make.unpacked(recorder.bits, recorder.source.count).mean()
        assert 0.01 < rate < 0.5
    return whole.result()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("block", [1, 2, 8])
def test_the_bits_of_any_block_and_number_of_threads(
    make: Any, expected: list[np.ndarray], block: int, threads: int
) -> None:
    whole = network(make, block)
    CpuEngine(whole.operations, block, threads).run(0, STEPS)
    assert all(map(np.array_equal, whole.result(), expected))


def test_a_run_divided_anywhere(make: Any, expected: list[np.ndarray]) -> None:
    for cut in (1, 7, 8, 9, 63):
        whole = network(make, block=8)
        engine = CpuEngine(whole.operations, 8, 2)
        engine.run(0, cut)
        engine.run(cut, STEPS - cut)
        assert all(map(np.array_equal, whole.result(), expected)), cut


def test_another_engine_goes_on_with_the_arrays(make: Any, expected: list[np.ndarray]) -> None:
    whole = network(make, block=8)
    CpuEngine(whole.operations, 8).run(0, 41)
    for cells in whole.cells:  # another length of a block needs other rows for spikes
        cells.spikes = make.bits(COUNT, 4)
        cells.traces = {}
    given = whole.spikes[2].source
    given.spikes = make.bits(given.count, 4)
    CpuEngine(whole.operations, 4, 3).run(41, STEPS - 41)
    assert all(map(np.array_equal, whole.result(), expected))


def test_recorders_move_on_between_runs(make: Any, expected: list[np.ndarray]) -> None:
    whole = network(make, block=8)
    engine = CpuEngine(whole.operations, 8)
    rows = []
    for first in range(0, STEPS, 20):
        for recorder in whole.spikes:
            recorder.bits, recorder.first = make.bits(recorder.source.count, 20), first
        engine.run(first, 20)
        rows.append(whole.spikes[0].bits)
    assert np.array_equal(np.concatenate(rows), expected[0])


def test_float64_divides_as_well(make: Any) -> None:
    one, two = network(make, 1, "float64"), network(make, 8, "float64")
    CpuEngine(one.operations, 1).run(0, STEPS)
    CpuEngine(two.operations, 8, 2).run(0, STEPS)
    assert all(map(np.array_equal, one.result(), two.result()))


def test_threads_wait_where_lists_of_spikes_change_hands(make: Any) -> None:
    whole = network(make, block=8)
    tables = engine_tables.Tables(whole.operations, 8, 2)
    waits = tables.rows()[0][:, 2]
    rows = [row for found in tables._rows for row in found]
    waiting = [
        "write" if row.writes is not None else "read" if row.reads is not None else ""
        for row, wait in zip(rows, waits, strict=True)
        if wait
    ]
    # One before the first list of a block is written anew, one before the first is read.
    assert waiting == ["write", "read"]
    assert not engine_tables.Tables(whole.operations, 8, 1).rows()[0][:, 2].any()


def one(make: Any, **changed: Any) -> Callable[[], CpuEngine]:
    """A population of 40 with a ring of 16 slots and a projection onto itself."""
    ring = Ring(np.zeros(changed.pop("ring", (16, 40)), changed.pop("kind", np.int32)), 1.0)
    cells = make.cells(LIF(), 40, "float32", {"x": ring}, 4)
    given = {
        "indptr": np.arange(41),
        "place": np.zeros(40, np.uint16),
        "delay": 5,
        "weight": 1,
    } | changed
    block = given.pop("block", 4)
    return lambda: CpuEngine([cells, Delivery(cells, ring, **given)], block)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ring": (12, 40)}, "power of two"),
        ({"ring": (16, 41)}, r"must be int32 \[16, 40\]"),
        ({"kind": np.int64}, "must be int32"),
        ({"kind": np.uint32}, "must be int32 or int64"),
        ({"indptr": np.arange(40)}, r"indptr must be int64 \[41\]"),
        ({"indptr": np.arange(41)[::-1].copy()}, "place"),
        ({"indptr": np.r_[0, 3, 2, np.arange(3, 41)]}, "ascend"),
        ({"place": np.zeros(39, np.uint16)}, r"\[40\]"),
        ({"place": np.zeros(40, np.int64)}, "uint16 or uint32"),
        ({"place": np.full(40, 40, np.uint16)}, "neuron 0"),
        ({"place": np.zeros(80, np.uint16)[::2]}, "gaps"),
        ({"delay": 3}, "shorter than the block"),
        ({"delay": 13}, "needs 17 slots"),
        ({"delay": None, "place": np.full(40, 200, np.uint32)}, None),
        ({"delay": None, "place": np.full(40, 3 * 40, np.uint32)}, "shorter than the block"),
        ({"delay": None, "place": np.full(40, 13 * 40, np.uint32)}, "needs 17 slots"),
        ({"weight": np.zeros(39, np.int32)}, r"\[40\]"),
        ({"weight": np.zeros(40, np.float32)}, "int8 or"),
        ({"block": 3}, "power of two"),
        ({"block": 8}, r"spikes must be uint32 \[8, 2\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    make: Any, changed: dict[str, Any], message: str | None
) -> None:
    build = one(make, **changed)
    if message is None:
        build()
        return
    with pytest.raises(ValueError, match=message):
        build()


def test_targets_that_do_not_ascend_are_refused(make: Any) -> None:
    place = np.array([3, 2] + [0] * 38, np.uint16)
    indptr = np.r_[np.zeros(5, np.int64), 2, np.full(34, 2), 40]
    with pytest.raises(ValueError, match="neuron 4"):
        one(make, place=place, indptr=indptr)()


def test_other_operations_are_refused(make: Any) -> None:
    ring = Ring(np.zeros((16, 40), np.int32), 1.0)
    cells = make.cells(LIF(), 40, "float32", {"x": ring}, 4)
    spikes, senders = make.bits(40, 4), np.array([0, 40], np.int32)
    nobody = np.array([40], np.int32)
    for operation, message in (
        (SpikeSource(40, spikes, np.arange(2), senders), "0 to 39"),
        (SpikeSource(40, spikes, np.array([1, 0]), senders * 0), "ascend"),
        (PoissonInput(ring, np.ones(39), 1, 0, 0), "mean_per_step"),
        (PoissonInput(ring, -1.0, 1, 0, 0), "mean_per_step"),
        (NoiseInput(ring, 0.0, float("nan"), 0, 0), "std must be finite"),
        (CurrentInput(ring, np.zeros(40, np.int64)), "values must be int32"),
        (StateRecorder(cells, "u", nobody * 0, np.zeros((1, 1), np.float32)), "traces"),
        (StateRecorder(cells, "v", nobody, np.zeros((1, 1), np.float32)), "0 to 39"),
    ):
        with pytest.raises(ValueError, match=message):
            CpuEngine([operation], 4)


def test_a_recorder_without_room_is_refused(make: Any) -> None:
    ring = Ring(np.zeros((16, 40), np.int32), 1.0)
    cells = make.cells(LIF(), 40, "float32", {"x": ring}, 4)
    engine = CpuEngine([cells, SpikeRecorder(cells, make.bits(40, 10), first=20)], 4)
    engine.run(20, 10)
    for first, steps in ((20, 11), (19, 5)):
        with pytest.raises(ValueError, match="rows for the steps 20 to 29"):
            engine.run(first, steps)


PROCESS = """
import time
import numpy as np
from spikesim.kernels.engine import Cells, CpuEngine, CurrentInput, Delivery, Ring
from spikesim.neurons import LIF
neuron = LIF(tau=3.0)
ring = Ring(np.zeros((16, 40), np.int32), 2.0**-16)
state = {"v": np.zeros(40, np.float32)}
parameters = {"k": 1 / 3.0, "v_threshold": 1.0}
spikes = np.zeros((4, 2), np.uint32)
cells = Cells(neuron, 40, "float32", parameters, state, {"x": ring}, spikes)
drive = CurrentInput(ring, np.full(40, 2**16, np.int32))
delivery = Delivery(cells, ring, np.arange(41), np.zeros(40, np.uint16), 5, 1)
begin = time.process_time()
engine = CpuEngine([drive, cells, delivery], 4)
engine.run(0, 50)
seconds = time.process_time() - begin
rows = [row for found in engine._tables._rows for row in found]
print(all(row.function.cache_hits for row in rows), state["v"].sum(), seconds)
"""


def test_processes_share_compiled_operations(tmp_path: Path) -> None:
    names = "SPIKESIM_CACHE", "NUMBA_CACHE_DIR"
    env = os.environ | dict.fromkeys(names, str(tmp_path)) | {"OMP_NUM_THREADS": "1"}

    def result() -> list[str]:
        command = [sys.executable, "-c", PROCESS]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    first, second = result(), result()
    assert (first[0], second[0]) == ("False", "True")
    assert first[1] == second[1]
    assert float(second[2]) < float(first[2]) / 2
