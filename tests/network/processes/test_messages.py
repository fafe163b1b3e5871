"""Spikes sent as messages, as between machines, in lists that grow and give way to bits."""

from pathlib import Path

import numpy as np
import pytest
from several import DURATIONS, MANY, Results, check_equal, everything, layers, recorded

from spikesim.network import distributed_exchange
from spikesim.network.distributed import share
from spikesim.network.distributed_exchange import FEW, Exchange
from spikesim.network.population import Group
from spikesim.world import World


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


@pytest.mark.parametrize("many", MANY)
def test_messages_give_what_common_memory_gives(
    found: dict[tuple[int, int], Results], one: dict[str, Results], many: int
) -> None:
    for rank in range(many):
        of_rank = found[many, rank]["work_messages"]
        assert of_rank["listed"] > 0
        for name, result in of_rank["networks"].items():
            check_equal(result, one[name])


@pytest.mark.parametrize("many", MANY)
def test_lists_that_overflow_grow_and_lose_nothing(
    found: dict[tuple[int, int], Results], many: int
) -> None:
    for rank in range(many):
        of_rank = found[many, rank]["work_messages"]
        assert of_rank["is_equal"] == [True] * 5
        first, quiet, more, same, bits, still = of_rank["rooms"]
        assert FEW // 16 < first == quiet < more == same < of_rank["words"] // 2
        assert bits == still == 0
