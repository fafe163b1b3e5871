"""Each process has a part of the neurons and of the synapses, and a state goes to any number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from several import MANY, Results, check_equal, everything, recorded

from spikesim.errors import BackendError, UserError
from spikesim.kernels.exchange import own_synapses
from spikesim.network import AllToAll, Network
from spikesim.network.distributed import _WORLD, Share, at_end, processes, share, undivided
from spikesim.network.plasticity import PairSTDP
from spikesim.network.recipes import brunel
from spikesim.neurons import LIFExp
from spikesim.world import World


def work_state(folder: Path, world: World) -> Results:
    """Save after a while; go on here and, from one process's file, elsewhere."""
    net = everything()
    net.run(23.3)
    saved = net.state_dict()
    if world.size == 3:
        saved = dict(np.load(folder / "one.npz"))
        net.load_state_dict(saved)
    elif world.is_first:
        np.savez(folder / "two.npz", **saved)  # type: ignore[arg-type]
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
    for rank in range(many):
        limits = [share(World(rank, many), group.size, n) for n, group in enumerate(net.groups)]
        of_rank = found[many, rank]["work_memory"]
        assert of_rank["synapses"] == net.synapses
        assert abs(of_rank["kept"] - net.synapses / many) < 2 * tile
        assert of_rank["bytes"] == 2 * of_rank["kept"]
        for table, projection, part in zip(whole, net.projections, of_rank["tables"], strict=True):
            is_own = limits[net.groups.index(projection.post)].has(table["post"])
            np.testing.assert_array_equal(part, np.stack([table["pre"], table["post"]])[:, is_own])


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


def test_shares_of_one_are_whole() -> None:
    assert processes() == World()
    own = np.arange(10)
    assert Share((0, 10)).whole(own) is own


@pytest.mark.parametrize("is_each", [False, True])
@pytest.mark.parametrize(("neurons", "slots"), [(200, 1), (300, 200), (3000, 200), (70_000, 1)])
def test_synapses_are_kept_alike_on_a_device(neurons: int, slots: int, is_each: bool) -> None:
    random = np.random.default_rng(3)
    many = random.integers(0, 50, 40)
    indptr = np.append(0, np.cumsum(many))
    target = np.concatenate([np.sort(random.integers(0, neurons, n)) for n in many])
    place = random.integers(0, slots, len(target)) * neurons + target
    place = place.astype(np.uint16 if slots * neurons <= 2**16 else np.uint32)
    weight = random.normal(size=len(target)).astype(np.float32) if is_each else None
    part = {"neurons": neurons, "first": 64, "count": neurons - 130, "slots": slots}
    one = own_synapses(indptr, place, weight, **part)
    tensors = (None if a is None else torch.from_numpy(a) for a in (indptr, place, weight))
    other = own_synapses(*tensors, **part)
    is_own = (target >= 64) & (target < neurons - 66)
    assert 0 < len(one[1]) == is_own.sum()
    for a, b in zip(one, other, strict=True):
        if a is None:
            assert b is None
        else:
            assert b.numpy().dtype == a.dtype
            np.testing.assert_array_equal(b.numpy(), a)


def test_plastic_synapses_of_several_devices_are_refused() -> None:
    net = Network()
    cells = net.population(LIFExp(), 4, name="cells")
    how = {"weight": 1.0, "plasticity": PairSTDP(w_max=2.0), "name": "loop"}
    loop = net.connect(cells, cells, AllToAll(), **how)
    cells.share = share(World(0, 2), 4, 0)
    loop.builder.is_cpu = False
    with pytest.raises(BackendError, match=r"loop is plastic: several processes .* device='cpu'"):
        loop.keep_own()


def test_what_belongs_inside_of_distributed_is_refused_outside() -> None:
    with pytest.raises(UserError, match="runs inside of distributed"):
        at_end(lambda: None)


def test_a_process_keeps_its_device_for_networks_of_its_own() -> None:
    token = _WORLD.set(World(1, 2, 1))
    try:
        with undivided():
            assert processes() == World(local_rank=1)
        assert processes() == World(1, 2, 1)
    finally:
        _WORLD.reset(token)
