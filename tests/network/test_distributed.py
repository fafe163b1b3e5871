"""One network on several processes: the same bits as on one, and no process left waiting.

This file is also the script that the processes run.
"""

import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from spikesim.errors import Stopped, UserError
from spikesim.kernels.engine import Call, CpuEngine
from spikesim.network import (
    FixedIndegree,
    FixedProbability,
    Network,
    Normal,
    OneToOne,
    Uniform,
    cases,
    distributed,
    distributed_exchange,
    sweep,
)
from spikesim.network.distributed import Share, processes, share
from spikesim.network.distributed_exchange import FEW, Exchange
from spikesim.network.population import Group
from spikesim.network.recipes import brunel, microcircuit
from spikesim.neuron import Neuron
from spikesim.neurons import LIFDelta, LIFExp
from spikesim.ops import bernoulli
from spikesim.train.distributed import World
from spikesim.types import Named

MANY = (2, 3)
Results = dict[str, Any]


class Chance(Neuron):
    """Fires by chance, more often when something arrives."""

    stochastic = True

    def step(self, state: Named, inputs: Named, p: Named) -> tuple[Named, Tensor]:
        return state, bernoulli(0.01 + inputs.x)


def everything(*, dtype: str = "float32", threads: int = 1) -> Network:
    """Odd sizes, one below a tile, drawn weights and delays, each drive, each kind of neuron."""
    net = Network(dt=0.1, seed=1, threads=threads, dtype=dtype)  # type: ignore[arg-type]
    leak = LIFExp(tau_m=np.linspace(8.0, 20.0, 403))
    exc = net.population(leak, 403, name="exc", initial={"v": Uniform(-70.0, -55.0)})
    inh = net.population(LIFDelta(), (5, 37), name="inh")
    few = net.population(LIFDelta(tau_m=5.0), 7, name="few")
    coin = net.population(Chance(), 130, name="coin")
    given = net.spikes(np.arange(1, 100) * 0.7, np.arange(99) % 5, 5, name="given")
    weights, delays = Normal(mean=0.5, std=0.1, low=0.0), Normal(mean=1.5, std=0.7, low=0.4)
    net.connect(exc, inh, FixedProbability(0.1), weight=weights, delay=1.5)
    net.connect(inh, exc, FixedIndegree(6), weight=-80.0, delay=delays)
    net.connect(exc, coin, FixedIndegree(3), weight=0.1, delay=0.8)
    net.connect(coin, few, FixedProbability(0.3), weight=2.0, delay=0.9)
    net.connect(few, exc, FixedProbability(0.3), weight=Normal(50.0, 5.0, low=0.0), delay=0.4)
    net.connect(given, exc, FixedProbability(0.3), weight=200.0, delay=0.4)
    net.poisson(exc, np.linspace(7000.0, 9000.0, 403), 45.0)
    net.poisson(inh, lambda ms: 3000.0 + 2000.0 * np.sin(ms), 0.4, largest=5000.0, every=0.7)
    net.noise(exc, 20.0, np.linspace(0.0, 300.0, 403))
    net.current(inh, lambda ms: np.linspace(0, 100.0 * np.cos(ms), 185), largest=100.0, every=1.1)
    return net


def layers() -> Network:
    """Zero delays in a row: spikes cross processes within a step."""
    net = Network(dt=1.0, seed=2)
    groups = [net.population(Chance(), 300, name="first")]
    groups += [net.population(LIFDelta(), 300, name=f"layer {n}") for n in range(2)]
    for pre, post in pairwise(groups):
        net.connect(pre, post, OneToOne(), weight=40.0, delay=0.0)
    net.connect(groups[2], groups[1], FixedIndegree(20), weight=-1.0, delay=1.0)
    return net


NETWORKS: dict[str, Callable[[], Network]] = {
    "brunel": lambda: brunel(scale=0.05, seed=3),
    "microcircuit": lambda: microcircuit(scale=0.02, seed=3),
    "everything": everything,
    "everything, float64, 2 threads": lambda: everything(dtype="float64", threads=2),
    "layers": layers,
}
DURATIONS = {"brunel": 60.0, "microcircuit": 30.0, "layers": 40.0}
"""Biological time, ms; otherwise 30."""


def recorded(net: Network, ms: float) -> Results:
    """Run on, and all that probes tell then."""
    probes = [net.probe(group, "spikes") for group in net.groups]
    some = [5, 402, 64, 63, 5, 200]
    if net.groups[0].name == "exc":
        probes[0] = net.probe(net.groups[0], "spikes", neurons=some)
    rate = net.probe(net.groups[0], "rate", every=5 * net.dt)
    of_some = net.probe(net.groups[0], "rate", neurons=[0, 70, 200], every=net.dt)
    states = {}
    if "v" in getattr(net.groups[0], "state", {}):
        states["v"] = net.probe(net.groups[0], "v", neurons=some, every=3 * net.dt)
    net.run(ms)
    found: Results = {"time": net.time}
    for n, probe in enumerate(probes):
        whole = probe.gather()
        found |= {f"steps {n}": whole.steps, f"senders {n}": whole.senders}
        found |= {f"neurons {n}": whole.neurons, f"rate {n}": whole.rate}
    found |= {"rates": rate.gather().values, "rates of some": of_some.gather().values}
    return found | {name: probe.gather().values for name, probe in states.items()}


# What processes do. Each function is called in each of them, and returns what the tests look at.


def work_spikes(folder: Path, world: World) -> Results:
    return {name: recorded(make(), DURATIONS.get(name, 30.0)) for name, make in NETWORKS.items()}


def work_state(folder: Path, world: World) -> Results:
    """Save after a while; go on here and, from one process's file, elsewhere."""
    net = everything()
    net.run(23.3)
    saved = net.state_dict()
    if world.size == 3:
        saved = dict(np.load(folder / "one.npz"))
        net.load_state_dict(saved)
    elif world.is_first:
        np.savez(folder / "two.npz", **saved)
    found = recorded(net, 20.0)
    return found | {f"state of {name}": array for name, array in net.state_dict().items()}


def work_memory(folder: Path, world: World) -> Results:
    net = brunel(scale=0.2, seed=1)
    net.run(1.0)
    assert net._machine is not None
    deliveries = net._machine.deliveries
    tables = [projection.table() for projection in net.projections]
    return {
        "synapses": net.synapses,
        "kept": sum(len(delivery.place) for delivery in deliveries.values()),
        "bytes": sum(delivery.place.nbytes for delivery in deliveries.values()),
        "tables": [np.stack([t["pre"], t["post"]]) for t in tables],
    }


def work_messages(folder: Path, world: World) -> Results:
    """Without memory in common: networks, and lists of spikes that grow and give way to bits."""
    group, block, found = Group("many", 100_000), 4, {}
    part = share(world, group.size, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed_exchange, "shared", lambda *_: None)
        exchange = Exchange(world, {group: part}, block)
        found["everything"] = recorded(everything(), 30.0)
        patch.setattr(distributed_exchange, "FEW", 0)
        patch.setattr(distributed_exchange, "SPARE", 1)
        net = layers()
        found["layers"] = recorded(net, DURATIONS["layers"])
    assert net._machine is not None
    exchanges = [stage.exchange for stage in net._machine.stages.values()]
    own, rooms, is_equal = exchange.own[group], [exchange.room], []
    for chance in (0.001, 0.005, 0.002, 0.4, 0.001):
        bits = np.random.default_rng(7).random((block, group.size)) < chance
        words = np.packbits(bits, axis=1, bitorder="little").view(np.uint32)
        own[:] = words[:, part.first // 32 :][:, : own.shape[1]]
        exchange(0, block)
        is_equal.append(np.array_equal(exchange.received[group].spikes, words))
        rooms.append(exchange.room)
    return {
        "networks": found,
        "listed": max(exchange.room for exchange in exchanges if exchange is not None),
        "is_equal": is_equal,
        "rooms": rooms,
        "words": block * group.size // 32 // world.size,
    }


def work_sweep(folder: Path, world: World) -> Results:
    def run(g: float, seed: int) -> tuple[float, int, int]:
        if g < 0:
            raise ValueError(f"no {g}")
        net = brunel(scale=0.02, seed=seed, g=g)
        probe = net.probe(net.groups[0], "spikes")
        net.run(20.0)
        return g, seed, len(probe)

    found: Results = {"all": sweep(run, cases(g=[4.0, 6.0], seed=[1, 2, 3]))}
    try:
        sweep(run, cases(g=[4.0, -1.0], seed=[1, 2]))
    except ValueError as error:
        found["error"] = [str(error), *error.__notes__]
    return found


def attempt(act: Callable[[], None]) -> str:
    try:
        act()
    except (Exception, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def driven(rate: Callable[[float], float]) -> Network:
    net = Network(dt=0.1, seed=1)
    cells = net.population(LIFDelta(), 200)
    net.connect(cells, cells, FixedIndegree(10), weight=0.1, delay=1.5)
    net.poisson(cells, rate, 0.4, largest=9000.0, every=1.0)
    return net


def work_errors(folder: Path, world: World) -> Results:
    last = world.rank == world.size - 1

    def unlucky(ms: float) -> float:
        if last and ms > 5.0:
            raise ValueError("no such rate")
        return 8000.0

    again: list[bool] = []

    def interrupting(ms: float) -> float:
        if last and ms == 7.0 and not again:
            again.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return 8000.0

    found: Results = {"failed": attempt(lambda: driven(unlucky).run(20.0))}
    net = driven(interrupting)
    found["interrupted"] = attempt(lambda: net.run(20.0))
    found["then"] = net.time
    net.run(20.0 - net.time)
    found["state"] = net.state_dict()
    other = brunel(scale=0.02, seed=world.rank)
    found["another"] = attempt(lambda: other.run(1.0))
    net = brunel(scale=0.02)
    found["longer"] = attempt(lambda: net.run(1.0 + world.rank))
    return found


def work_lost(folder: Path, world: World) -> Results:
    """A process ends in the middle of a run."""
    last = world.rank == world.size - 1
    net = driven(lambda ms: os._exit(3) if last and ms > 5.0 else 8000.0)  # type: ignore[func-returns-value]
    return {"lost": attempt(lambda: net.run(20.0))}


WORK = {name: value for name, value in globals().items() if name.startswith("work_")}


def work_of(folder: Path, rank: int, many: int, port: int) -> None:
    """The life of a process, which would be started by ``torchrun``."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(many)}
    found = {}
    try:
        with distributed(timeout=120.0) as world:
            for name, work in WORK.items():
                found[name] = work(folder, world)
    except Stopped as error:
        found["end"] = str(error)
    (folder / f"{many}-{rank}.pickle").write_bytes(pickle.dumps(found))


def main(folder: Path) -> None:
    """One process, then several, which find all kernels compiled and loaded."""
    one = work_spikes(folder, World())
    (folder / "one.pickle").write_bytes(pickle.dumps(one))
    net = everything()
    net.run(23.3)
    np.savez(folder / "one.npz", **net.state_dict())  # type: ignore[arg-type]
    fork = multiprocessing.get_context("fork")
    for many in MANY:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        each = [fork.Process(target=work_of, args=(folder, r, many, port)) for r in range(many)]
        for process in each:
            process.start()
        for process in each:
            process.join()
        assert [process.exitcode for process in each] == [0] * (many - 1) + [3]


# The tests.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all the processes leave."""
    folder = tmp_path_factory.mktemp("distributed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, __file__, str(folder)]
    both = subprocess.STDOUT
    ran = subprocess.run(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=both, timeout=300
    )
    assert ran.returncode == 0, ran.stdout
    return folder


@pytest.fixture(scope="module")
def one(folder: Path) -> dict[str, Results]:
    """What one process does, without :func:`distributed`."""
    found: dict[str, Results] = pickle.loads((folder / "one.pickle").read_bytes())
    return found


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[tuple[int, int], Results]:
    """What each process of two and of three does but the last, by their number and its own."""
    places = [(many, rank) for many in MANY for rank in range(many - 1)]
    return {
        (many, rank): pickle.loads((folder / f"{many}-{rank}.pickle").read_bytes())
        for many, rank in places
    }


def check_equal(found: Results, expected: Results) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_processes_gives_the_same_bits(
    found: dict[tuple[int, int], Results], one: dict[str, Results], name: str, many: int
) -> None:
    assert sum(v.size for key, v in one[name].items() if key.startswith("steps")) > 10
    for rank in range(many - 1):
        check_equal(found[many, rank]["work_spikes"][name], one[name])


@pytest.mark.parametrize("many", MANY)
def test_a_state_goes_from_any_number_of_processes_to_any_other(
    found: dict[tuple[int, int], Results], folder: Path, many: int
) -> None:
    """Two go on with theirs, three with that of one, and one with that of two."""
    net = everything()
    net.load_state_dict(dict(np.load(folder / "two.npz")))
    expected = recorded(net, 20.0)
    expected |= {f"state of {name}": array for name, array in net.state_dict().items()}
    check_equal(found[many, 0]["work_state"], expected)


@pytest.mark.parametrize("many", MANY)
def test_each_process_keeps_its_part_of_the_synapses(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    net = brunel(scale=0.2, seed=1)
    whole = [projection.table() for projection in net.projections]
    tile = net.synapses * 64 / net.neurons
    limits = [share(World(many - 2, many), group.size, n) for n, group in enumerate(net.groups)]
    of_rank = found[many, many - 2]["work_memory"]
    assert of_rank["synapses"] == net.synapses
    assert abs(of_rank["kept"] - net.synapses / many) < 2 * tile
    assert of_rank["bytes"] == 2 * of_rank["kept"]
    for table, projection, part in zip(whole, net.projections, of_rank["tables"], strict=True):
        is_own = limits[net.groups.index(projection.post)].has(table["post"])
        np.testing.assert_array_equal(part, np.stack([table["pre"], table["post"]])[:, is_own])


@pytest.mark.parametrize("many", MANY)
def test_messages_give_what_common_memory_gives(
    found: dict[tuple[int, int], Results], one: dict[str, Results], many: int
) -> None:
    of_rank = found[many, 0]["work_messages"]
    assert of_rank["listed"] > 0
    for name, result in of_rank["networks"].items():
        check_equal(result, one[name])


@pytest.mark.parametrize("many", MANY)
def test_lists_that_overflow_grow_and_lose_nothing(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    of_rank = found[many, 0]["work_messages"]
    assert of_rank["is_equal"] == [True] * 5
    first, quiet, more, same, bits, still = of_rank["rooms"]
    assert FEW // 16 < first == quiet < more == same < of_rank["words"] // 2
    assert bits == still == 0


@pytest.mark.parametrize("many", MANY)
def test_a_sweep_over_processes_has_all_results_in_order(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    expected = work_sweep(Path(), World())
    for rank in range(many - 1):
        assert found[many, rank]["work_sweep"] == expected
    assert [case[:2] for case in expected["all"]] == [(g, s) for g in (4.0, 6.0) for s in (1, 2, 3)]
    assert len({count for *_, count in expected["all"]}) > 3
    assert expected["error"] == ["no -1.0", "in the case {'g': -1.0, 'seed': 1}"]


@pytest.mark.parametrize("many", MANY)
def test_an_error_of_one_process_ends_the_run_of_all(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    errors = found[many, 0]["work_errors"]
    assert errors["failed"] == "Stopped: another process failed; see what it says"
    assert errors["another"].startswith("UserError: process 1 has another network than process 0")
    assert errors["longer"] == (
        f"UserError: processes run to different times: to step 10 and to step {10 * many}"
    )
    lost = found[many, 0]["work_lost"]["lost"]
    assert lost.startswith("Stopped: lost contact with another process")
    assert found[many, 0]["end"].startswith("lost contact with another process")


@pytest.mark.parametrize("many", MANY)
def test_all_are_interrupted_at_one_step_and_can_go_on(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    errors = found[many, 0]["work_errors"]
    assert errors["interrupted"] == "KeyboardInterrupt: "
    assert 7.0 <= errors["then"] < 20.0
    net = driven(lambda ms: 8000.0)
    net.run(20.0)
    check_equal(errors["state"], net.state_dict())


def test_parts_are_whole_tiles_and_even() -> None:
    for size, many in ((1, 3), (64, 2), (1000, 3), (6400, 7)):
        for which in range(many):
            parts = [share(World(rank, many), size, which) for rank in range(many)]
            counts = [part.count for part in parts]
            assert sum(counts) == size
            assert max(counts) - min(counts) < 128
            assert all(part.first % 64 == 0 or part.first == size for part in parts)
    owners = {share(World(0, 2), 10, which).count for which in range(2)}
    assert owners == {0, 10}  # small populations take turns


def test_one_process_is_as_without(one: dict[str, Results]) -> None:
    with distributed() as world:
        assert (world.rank, world.size) == (0, 1)
        check_equal(recorded(everything(), 30.0), one["everything"])


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
def test_a_sweep_keeps_order_with_and_without_threads(executor: Executor | None) -> None:
    def run(seed: int) -> tuple[int, int]:
        net = everything()
        net.seed = seed
        probe = net.probe(net.groups[0], "spikes")
        net.run(5.0)
        return seed, len(probe)

    expected = [run(seed) for seed in range(4)]
    assert sweep(run, cases(seed=range(4)), executor=executor) == expected


def test_what_a_call_raises_ends_the_run_of_the_engine() -> None:
    steps: list[int] = []

    def function(begin: int, many: int) -> None:
        steps.append(begin)
        if begin == 4:
            raise UserError("enough")

    for threads in (1, 2):
        steps.clear()
        engine = CpuEngine([Call(function)], 2, threads)
        with pytest.raises(UserError, match="enough"):
            engine.run(0, 20)
        assert steps == [0, 2, 4]


def test_shares_of_one_are_whole() -> None:
    assert processes() == World()
    own = np.arange(10)
    assert Share((0, 10)).whole(own) is own


if __name__ == "__main__":
    main(Path(sys.argv[1]))
