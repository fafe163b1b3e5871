"""Plastic deliveries against slow loops over events, one synapse at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikesim.kernels import plastic_tables
from spikesim.kernels.engine import (
    CpuEngine,
    Modulation,
    PlasticDelivery,
    Ring,
    StateRecorder,
)
from spikesim.kernels.plastic import bind_rule
from spikesim.kernels.plastic_state import first_state
from spikesim.network.plasticity import PairSTDP, Plasticity, Trace
from spikesim.neuron import Neuron
from spikesim.types import Named

DT, STEPS, SLOTS, QUANTUM = 0.5, 160, 128, 2.0**-40
FACTOR = 0.99
"""Of the modulator in a step."""


class Fires(Neuron):
    """Spikes where its input says so; its state is what else arrives."""

    inputs = ("fire", "x")
    states = ("v",)

    def step(self, state: Named, inputs: Named, p: Named) -> Any:
        return Named(v=inputs.x), inputs.fire


@dataclass(frozen=True)
class Everything(Plasticity):
    """Uses all that a rule can: traces of both sides everywhere, an eligibility, what is sent."""

    tau: float = 9.0

    def pre(self) -> dict[str, Trace]:
        return {"x": Trace(self.tau), "r": Trace(30.0, rest=1.0)}

    def post(self) -> dict[str, Trace]:
        return {"y": Trace(2 * self.tau), "z": Trace(40_000.0, rest=0.5)}

    def eligibility(self) -> float:
        return 14.0

    def on_pre(self, s: Named) -> dict[str, Any]:
        sent = s.w * s.r
        return {
            "w": s.w - 0.01 * s.y * s.w,
            "e": s.e - 0.3 * s.y * s.x + 0.1 * s.z,
            "sent": sent,
            "x": 0.5 * s.x + 1.0,
            "r": s.r * 0.7,
        }

    def on_post(self, s: Named) -> dict[str, Any]:
        return {
            "w": s.w + 0.02 * s.x * s.z,
            "e": s.e + 0.4 * s.x * (1.0 + s.y) * s.r,
            "y": s.y + 1.0,
            "z": s.z + 0.01 * s.y,
        }


@dataclass
class Trial:
    """Random spikes and synapses."""

    pre: NDArray[np.bool_]
    post: NDArray[np.bool_]
    indptr: NDArray[np.int64]
    target: NDArray[np.int64]
    delay: NDArray[np.int64]
    weight: NDArray[np.float64]
    level: NDArray[np.float64]
    """``[steps, values]`` of the modulator."""

    def sources(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


def trial(
    seed: int,
    senders: int,
    receivers: int,
    indegree: int,
    delays: tuple[int, int],
    rate: float,
    *,
    is_each: bool = False,
) -> Trial:
    random = np.random.default_rng(seed)
    many = random.integers(0, indegree + 1, senders)
    many[random.integers(0, senders)] = indegree
    total = int(many.sum())
    rows = [np.sort(random.integers(0, receivers, n)) for n in many]
    first = random.normal(0.0, 0.05, receivers if is_each else 1)
    return Trial(
        random.random((STEPS, senders)) < rate,
        random.random((STEPS, receivers)) < rate,
        np.concatenate([[0], np.cumsum(many)]),
        np.concatenate(rows),
        random.integers(delays[0], delays[1] + 1, total),
        random.uniform(0.3, 0.7, total),
        first * FACTOR ** np.arange(STEPS)[:, None],
    )


@dataclass
class Result:
    weight: NDArray[Any]
    arrived: NDArray[Any]
    """``[steps, receivers]``."""


def expected(of: Trial, rule: Plasticity, steps: int = STEPS) -> Result:
    """Each synapse by itself, with each trace decaying in every step."""
    weight, arrived = of.weight.copy(), np.zeros((STEPS + SLOTS, of.post.shape[1]))
    tau = rule.eligibility()
    left = 0.0 if tau is None else np.exp(-DT / tau)
    for k, (j, i, d) in enumerate(zip(of.sources(), of.target, of.delay, strict=True)):
        pre = {name: trace.rest for name, trace in rule.pre().items()}
        post = {name: trace.rest for name, trace in rule.post().items()}
        w, e = weight[k], 0.0
        for n in range(steps):
            for values, traces in ((pre, rule.pre()), (post, rule.post())):
                for name, trace in traces.items():
                    fade = np.exp(-DT / trace.tau)
                    values[name] = trace.rest + (values[name] - trace.rest) * fade
            e *= left
            before = {**pre, **post}
            if n >= d and of.post[n - d, i]:
                new = rule.on_post(Named(w=w, e=e, **before))
                w = min(max(new.get("w", w), rule.w_min), rule.w_max)
                e = new.get("e", e)
                post = {name: new.get(name, value) for name, value in post.items()}
            if of.pre[n, j]:
                new = rule.on_pre(Named(w=w, e=e, **before))
                w = min(max(new.get("w", w), rule.w_min), rule.w_max)
                e = new.get("e", e)
                pre = {name: new.get(name, value) for name, value in pre.items()}
                arrived[n + d, i] += new.get("sent", w)
            level = of.level[n]
            w = min(max(w + DT * level[i % len(level)] * e, rule.w_min), rule.w_max)
        weight[k] = w
    return Result(weight, arrived[:STEPS])


class Machine:
    """The same in an engine."""

    def __init__(
        self,
        make: Any,
        of: Trial,
        rule: Plasticity,
        dtype: str,
        block: int = 4,
        threads: int = 1,
    ) -> None:
        kind = np.int64 if dtype == "float64" else np.int32
        quantum = QUANTUM if dtype == "float64" else 2.0**-20
        self.of, self.receivers = of, of.post.shape[1]
        ring = Ring(np.zeros((SLOTS, self.receivers), kind), quantum)
        self.fire = Ring(np.zeros((256, self.receivers), kind), 1.0)
        self.fire.array[:STEPS] = of.post
        source = make.given(of.pre, block)
        rings = {"fire": self.fire, "x": ring}
        cells = make.cells(Fires(), self.receivers, dtype, rings, block)
        everyone = np.arange(self.receivers, dtype=np.int32)
        values = np.full((STEPS, self.receivers), np.nan, dtype)
        self.recorder = StateRecorder(cells, "v", everyone, values)
        is_spread = len(set(of.delay.tolist())) > 1
        place = of.delay * self.receivers + of.target if is_spread else of.target
        longest = int(of.delay.max(initial=1))
        bound = bind_rule(rule)
        width, self.modulation = of.level.shape[1], None
        if bound.program.has_eligibility:
            values, levels = of.level[0].copy(), np.zeros((block, width))
            self.modulation = Modulation(values, FACTOR, levels)
        state = first_state(
            bound,
            rule,
            dt=DT,
            senders=of.pre.shape[1],
            receivers=self.receivers,
            synapses=len(place),
            longest=longest,
            block=block,
            values=width,
            all_values=width,
            dtype=np.dtype(dtype),
        )
        self.delivery = PlasticDelivery(
            source=source,
            target=cells,
            ring=ring,
            indptr=of.indptr,
            place=place.astype(np.uint16 if place.max(initial=0) < 2**16 else np.uint32),
            delay=None if is_spread else longest,
            longest=longest,
            weight=of.weight.astype(dtype),
            low=rule.w_min,
            high=rule.w_max,
            sign=1.0,
            rule=rule,
            dt=DT,
            state=state,
            modulation=self.modulation,
        )
        operations = [source, cells, self.recorder, self.delivery]
        if self.modulation is not None:
            operations.insert(0, self.modulation)
        self.engine = CpuEngine(operations, block, threads)

    def result(self, now: int = STEPS - 1) -> Result:
        weight = plastic_tables.weights(self.delivery, None, now)
        return Result(weight, self.recorder.values.copy())


def agree(found: Result, wanted: Result, dtype: str) -> None:
    close = 1e-12 if dtype == "float64" else 2e-4
    assert np.allclose(found.weight, wanted.weight, rtol=close, atol=close)
    assert np.allclose(found.arrived, wanted.arrived, rtol=close, atol=max(close, 64 * QUANTUM))


RULES: dict[str, Callable[[], Plasticity]] = {
    "additive": lambda: PairSTDP(w_max=1.0, mu_plus=0.0, mu_minus=0.0, rate=0.05),
    "power": lambda: PairSTDP(w_max=1.0, mu_plus=0.4, mu_minus=0.8, rate=0.05, tau_plus=9.0),
    "nearest": lambda: PairSTDP(w_max=0.8, w_min=0.2, rate=0.1, pairs="nearest"),
    "everything": lambda: Everything(w_max=50.0, w_min=-50.0),
}


@pytest.mark.parametrize(
    ("rule", "delays", "dtype"),
    [
        ("additive", (4, 4), "float64"),
        ("additive", (4, 9), "float32"),
        ("power", (4, 9), "float64"),
        ("power", (7, 7), "float32"),
        ("nearest", (5, 5), "float64"),
        ("everything", (4, 4), "float64"),
        ("everything", (4, 9), "float64"),
        ("everything", (4, 9), "float32"),
    ],
)
def test_each_synapse_follows_its_rule(
    make: Any, rule: str, delays: tuple[int, int], dtype: str
) -> None:
    of = trial(3, 12, 70, 40, delays, 0.08, is_each=delays[0] != delays[1])
    machine = Machine(make, of, RULES[rule](), dtype)
    machine.engine.run(0, STEPS)
    agree(machine.result(), expected(of, RULES[rule]()), dtype)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_silence_and_spikes_in_every_step(make: Any, rate: float) -> None:
    """Receivers fire more often than spikes are kept: synapses take them up in time."""
    of = trial(4, 6, 40, 30, (4, 9), rate)
    of.pre[:] = np.random.default_rng(1).random(of.pre.shape) < 0.02
    of.pre[:, 0] = False
    rule = RULES["everything"]()
    machine = Machine(make, of, rule, "float64")
    machine.engine.run(0, STEPS)
    agree(machine.result(), expected(of, rule), "float64")


@pytest.fixture(scope="module", params=[(4, 9), (4, 4)], ids=["drawn delays", "equal delays"])
def reference(make: Any, request: pytest.FixtureRequest) -> tuple[Trial, Result]:
    of = trial(5, 30, 200, 90, request.param, 0.1, is_each=True)
    machine = Machine(make, of, RULES["everything"](), "float32", 1, 1)
    machine.engine.run(0, STEPS)
    return of, machine.result()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    log_block=st.integers(0, 2),
    threads=st.integers(1, 3),
    cuts=st.lists(st.integers(0, STEPS), max_size=4),
    looks=st.booleans(),
    settles=st.booleans(),
)
def test_bits_depend_on_neither_threads_nor_blocks_nor_cuts(
    make: Any,
    reference: tuple[Trial, Result],
    log_block: int,
    threads: int,
    cuts: list[int],
    looks: bool,
    settles: bool,
) -> None:
    of, whole = reference
    machine = Machine(make, of, RULES["everything"](), "float32", 2**log_block, threads)
    ends = [*sorted(cuts), STEPS]
    for first, end in zip([0, *ends], ends, strict=False):
        machine.engine.run(first, end - first)
        if looks:
            machine.result(end - 1)
        if settles:
            plastic_tables.settle(machine.delivery, end - 1)
    found = machine.result()
    assert np.array_equal(found.weight, whole.weight)
    assert np.array_equal(found.arrived, whole.arrived)


def test_a_look_at_some_rows_is_a_look_at_all(make: Any, reference: tuple[Trial, Result]) -> None:
    of, whole = reference
    machine = Machine(make, of, RULES["everything"](), "float32")
    machine.engine.run(0, STEPS)
    rows = np.array([3, 17, 29])
    found = plastic_tables.weights(machine.delivery, rows, STEPS - 1)
    some = np.isin(of.sources(), rows)
    assert np.array_equal(found[some], whole.weight[some])


def test_what_does_not_fit_is_refused(make: Any) -> None:
    of = trial(6, 5, 9, 4, (2, 2), 0.1)
    with pytest.raises(ValueError, match="need delays of the block, 4, not 2"):
        Machine(make, of, RULES["additive"](), "float32", block=4)
    machine = Machine(make, of, RULES["additive"](), "float32", block=2)
    machine.delivery.modulation = Modulation(np.zeros(1), 1.0, np.zeros((2, 1)))
    with pytest.raises(ValueError, match="an eligibility needs a modulation"):
        CpuEngine(machine.engine.operations, 2)
