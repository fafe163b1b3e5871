"""Cases of a sweep are divided among threads and processes, and stay in order."""

from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
from several import MANY, Results, everything

from spikesim.network import cases, sweep
from spikesim.network.recipes import brunel
from spikesim.world import World


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


@pytest.mark.parametrize("many", MANY)
def test_a_sweep_over_processes_has_all_results_in_order(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    expected = work_sweep(Path(), World())
    for rank in range(many):
        assert found[many, rank]["work_sweep"] == expected
    assert [case[:2] for case in expected["all"]] == [(g, s) for g in (4.0, 6.0) for s in (1, 2, 3)]
    assert len({count for *_, count in expected["all"]}) > 3
    assert expected["error"] == ["no -1.0", "in the case {'g': -1.0, 'seed': 1}"]


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
