"""Several processes with a device each: the bits of one process on the CPU."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from host_cuda import HOST, run_on_host
from several import MANY, Chance, Results, check_equal, layers

from spikesim.network import FixedIndegree, FixedProbability, Network, Normal, Uniform, build
from spikesim.neurons import LIFDelta
from spikesim.world import World

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
PARTS = 1, 14, 9
"""Steps of the parts of a run: they end within blocks too."""


def chatter() -> Network:
    """Much happens in few steps: each step of a device takes long on the host."""
    net = Network(dt=0.1, seed=4)
    coin = net.population(Chance(), 150, name="coin")
    cells = net.population(LIFDelta(t_ref=0.5), 77, name="cells", initial={"v": Uniform(-70, -55)})
    few = net.population(LIFDelta(), 9, name="few")
    mute = net.population(Chance(), 70, name="mute")
    given = net.spikes(np.arange(40) * 0.06, np.arange(40) % 5, 5, name="given")
    spread, some = Normal(1.5, 0.7, low=0.8), FixedProbability(0.2)
    net.connect(coin, cells, some, weight=Normal(3.0, 1.0, low=0.0), delay=spread)
    net.connect(cells, coin, some, weight=0.1, delay=0.9)
    net.connect(cells, few, FixedIndegree(7), weight=4.0, delay=1.1)
    net.connect(few, mute, some, weight=0.4, delay=0.5)
    net.connect(given, few, some, weight=30.0, delay=0.0)
    net.connect(given, coin, some, weight=0.5, delay=0.4)
    net.current(cells, 4000.0)
    return net


def told(net: Network, *parts: int) -> Results:
    """What probes and the state tell of a run in parts, of so many steps each."""
    probes = [net.probe(group, "spikes") for group in net.groups]
    v = net.probe(net.groups[1], "v", neurons=[70, 3, 64, 3])
    for steps in parts:
        net.run(steps * net.dt)
    found: Results = {"v": v.gather().values}
    for probe in probes:
        whole = probe.gather()
        found[probe.group.name] = np.stack([whole.steps, whole.senders])
    return found | {f"state of {name}": array for name, array in net.state_dict().items()}


def runs(world: World, device: str) -> dict[str, Results]:
    """Blocks of steps, a state that goes elsewhere, and stages within a step."""

    def placed(net: Network) -> Network:
        net.device = torch.device(device)
        return net

    net = placed(chatter())
    found = {"blocks": told(net, *PARTS)}
    assert net._machine is not None
    assert net._machine.block == 8
    if world.size > 1:
        stages = net._machine.stages.values()
        assert [stage.exchange.operation.block for stage in stages] == [4, 4]  # type: ignore[union-attr]
    again = placed(chatter())
    again.run(0.3)
    again.load_state_dict(net.state_dict())
    found["continued"] = told(again, 11)
    found["stages"] = told(placed(layers()), 8)
    return found


@contextmanager
def on_host() -> Iterator[None]:
    """Inside, networks whose ``device`` is set to that of CUDA run and exchange on the host."""
    make: Any = build.DeviceExchange
    with pytest.MonkeyPatch.context() as patch:
        run_on_host(patch)
        patch.setattr(build, "DeviceExchange", lambda *how: make(*how[:-1], HOST))
        yield


def work_devices(folder: Path, world: World) -> dict[str, Results]:
    with on_host():
        return runs(world, "cuda")


@pytest.fixture(scope="module")
def expected() -> dict[str, Results]:
    """One process on the CPU."""
    return runs(World(), "cpu")


def test_there_is_much_to_exchange(expected: dict[str, Results]) -> None:
    for name in ("coin", "cells", "few", "given"):
        assert expected["blocks"][name].shape[1] > 10
    assert expected["stages"]["layer 1"].shape[1] > 10


@pytest.mark.parametrize("many", MANY)
def test_devices_exchange_the_same_bits(
    found: dict[tuple[int, int], Results], expected: dict[str, Results], many: int
) -> None:
    for rank in range(many):
        for name, result in expected.items():
            check_equal(found[many, rank]["work_devices"][name], result)
