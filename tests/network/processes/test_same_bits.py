"""Any number of processes records the same bits as one."""

from pathlib import Path

import pytest
from several import MANY, NETWORKS, Results, all_recorded, check_equal, everything, recorded

from spikesim.network import distributed
from spikesim.world import World


def work_spikes(folder: Path, world: World) -> dict[str, Results]:
    return all_recorded()


@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_processes_gives_the_same_bits(
    found: dict[tuple[int, int], Results], one: dict[str, Results], name: str, many: int
) -> None:
    assert sum(v.size for key, v in one[name].items() if key.startswith("steps")) > 10
    for rank in range(many):
        check_equal(found[many, rank]["work_spikes"][name], one[name])


def test_one_process_is_as_without(one: dict[str, Results]) -> None:
    with distributed() as world:
        assert (world.rank, world.size) == (0, 1)
        check_equal(recorded(everything(), 30.0), one["everything"])
