"""Plastic networks on several processes: weights, traces and eligibilities as on one."""

from pathlib import Path

import numpy as np
import pytest
from several import MANY, Results, check_equal, learning

from spikesim.kernels import plastic_state
from spikesim.network import Network
from spikesim.world import World

SOME = [7, 3000, 0, 7, 41]
FOLDED = 1 << 13
"""Values in the sums of a modulator: few, so that they begin anew within a run."""


def learned(net: Network, ms: float) -> Results:
    """Run on, and all that probes, tables and the state tell then."""
    spikes = [net.probe(group, "spikes") for group in net.groups]
    weights = [net.probe(net.projections[0], "weight", synapses=SOME, every=2.0)]
    weights += [net.probe(p, "weight", every=5.0) for p in net.projections[3:5]]
    net.run(ms)
    found: Results = {}
    for probe in spikes:
        whole = probe.gather()
        found[f"spikes of {probe.group.name}"] = np.stack([whole.steps, whole.senders])
    for n, probe_ in enumerate(weights):
        all_ = probe_.gather()
        found |= {f"weights {n}": all_.values, f"synapses {n}": all_.synapses}
    for projection in net.projections:
        found |= {f"{name} of {projection.name}": v for name, v in projection.gather().items()}
    found |= {f"state of {name}": array for name, array in net.state_dict().items()}
    return found | {"error": net.modulators[0].value}


def divided(folder: Path, world: World) -> dict[str, Results]:
    """A run of each kind; and one that is saved and gone on with, here and elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plastic_state, "LARGEST_SUMS", FOLDED)
        runs = {
            "1 thread": learned(learning(), 50.0),
            "2 threads": learned(learning(threads=2), 50.0),
        }
        net = learning()
        net.run(23.3)
        net.modulators[1].add(0.01)
        saved = net.state_dict()
        if world.is_first:
            np.savez(folder / f"learning-{world.size}.npz", **saved)  # type: ignore[arg-type]
        if world.size == 3:  # the state of another number of processes
            net.load_state_dict(dict(np.load(folder / "learning-2.npz")))
        runs["continued"] = learned(net, 20.0)
    return runs


def work_learning(folder: Path, world: World) -> dict[str, Results]:
    return divided(folder, world)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """One process, without :func:`distributed`."""
    return divided(tmp_path_factory.mktemp("alone"), World())


@pytest.mark.parametrize("many", MANY)
def test_any_number_of_processes_learns_the_same_bits(
    found: dict[tuple[int, int], Results], alone: dict[str, Results], many: int
) -> None:
    assert all(v.shape[1] > 30 for k, v in alone["1 thread"].items() if k.startswith("spikes"))
    for rank in range(many):
        for name, expected in alone.items():
            check_equal(found[many, rank]["work_learning"][name], expected)


def test_what_learns_learns(alone: dict[str, Results]) -> None:
    """So that equal weights mean something; and threads change nothing."""
    check_equal(alone["2 threads"], alone["1 thread"])
    found, net = alone["1 thread"], learning()
    for projection in net.projections:
        if projection.is_plastic:
            moved = found[f"weight of {projection.name}"] != projection.table()["weight"]
            assert moved.any() == (projection.name != "inh -> exc")


@pytest.mark.parametrize("many", MANY)
def test_one_process_goes_on_with_the_state_of_several(
    found: dict[tuple[int, int], Results], folder: Path, alone: dict[str, Results], many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plastic_state, "LARGEST_SUMS", FOLDED)
        net = learning()
        net.load_state_dict(dict(np.load(folder / f"learning-{many}.npz")))
        check_equal(learned(net, 20.0), alone["continued"])
