"""Networks with chance, plasticity and zero delays go on from a file as if never stopped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikesim.network import AllToAll, FixedProbability, Network, Normal, OneToOne, Uniform
from spikesim.network.plasticity import PairSTDP
from spikesim.network.population import Population
from spikesim.network.recipes import liquid
from spikesim.neurons import AdEx, LIFCondExp, LIFEscape, PoissonNeuron


def mixed(dtype: str) -> Network:
    """Neurons that fire by chance, of conductances, and adaptive ones, with plastic synapses."""
    net = Network(dt=0.5, seed=3, dtype=dtype)  # type: ignore[arg-type]
    source = net.population(PoissonNeuron(rate=60.0), 40, name="source")
    escape = net.population(LIFEscape(), 30, name="escape", initial={"v": Uniform(-70.0, -56.0)})
    cond = net.population(LIFCondExp(), 20, name="cond")
    adex = net.population(AdEx(t_ref=1.0), 20, name="adex")
    delays = Normal(mean=3.0, std=1.5, low=0.5)
    net.connect(source, escape, FixedProbability(0.4), weight=250.0, delay=delays)
    net.connect(source, cond, AllToAll(), weight=2.0, delay=0.0)
    net.connect(
        escape, cond, AllToAll(), weight=1.0, delay=1.0, plasticity=PairSTDP(w_max=2.0, rate=0.05)
    )
    net.connect(cond, adex, OneToOne(), weight=200.0, delay=20.0)
    net.noise(adex, 400.0, 300.0)
    return net


NETWORKS: dict[str, Callable[[str], Network]] = {
    "mixed": mixed,
    "liquid": lambda dtype: liquid(seed=1, dtype=dtype),  # type: ignore[arg-type]
    "dynamic liquid": lambda dtype: liquid(seed=1, dtype=dtype, settled=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_holds_all_that_a_run_changes(name: str, dtype: str, tmp_path: Path) -> None:
    def trains(net: Network, *parts: float) -> list[list[tuple[int, int]]]:
        groups = [group for group in net.groups if isinstance(group, Population)]
        probes = [net.probe(group, "spikes") for group in groups]
        for ms in parts:
            net.run(ms)
        return [
            list(zip(probe.steps.tolist(), probe.senders.tolist(), strict=True)) for probe in probes
        ]

    make, first, second = NETWORKS[name], 161.5, 238.5
    whole, stopped, continued = make(dtype), make(dtype), make(dtype)
    expected = trains(whole, first + second)
    assert all(len(train) > 20 for train in expected)
    before = trains(stopped, first)
    np.savez(tmp_path / "state.npz", **stopped.state_dict())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        continued.load_state_dict(dict(state))
    after = trains(continued, second)
    assert [a + b for a, b in zip(before, after, strict=True)] == expected
    for one, other in zip(whole.groups, continued.groups, strict=True):
        assert isinstance(one, Population)
        assert isinstance(other, Population)
        for key, values in one.state.items():
            np.testing.assert_array_equal(other.state[key], values, err_msg=key)
    first_weights = {p.name: p.table()["weight"] for p in make(dtype).projections}
    for projection, same in zip(whole.projections, continued.projections, strict=True):
        weights = projection.table()["weight"]
        np.testing.assert_array_equal(same.table()["weight"], weights)
        learns = projection.name == "escape -> cond"
        assert learns == (not np.allclose(first_weights[projection.name], weights, rtol=1e-3))
