"""The liquid: its connections, its strengths, and what it adds to a linear readout."""

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import Network, Projection
from spikesim.network.recipes import liquid
from spikesim.network.recipes.liquid import DYNAMICS, column, efficacy

EXAMPLE = Path(__file__).parents[2] / "examples" / "liquid_state_machine.py"
# Published: probability, mean strength (nA), delay (ms).
CONNECTIONS = {
    ("excitatory", "excitatory"): (0.3, 30.0, 1.5, "EE"),
    ("excitatory", "inhibitory"): (0.2, 60.0, 0.8, "EI"),
    ("inhibitory", "excitatory"): (0.4, -19.0, 0.8, "IE"),
    ("inhibitory", "inhibitory"): (0.1, -19.0, 0.8, "II"),
}
SIGMAS = 4.0


def inner(net: Network) -> dict[tuple[str, str], Projection]:
    found = {(p.pre.name, p.post.name): p for p in net.projections}
    return {pair: found[pair] for pair in CONNECTIONS}


def test_neighbours_connect_as_often_as_their_distances_say() -> None:
    """Synapses of many columns against the sum over all pairs of integer points."""
    points = np.indices((15, 3, 3)).reshape(3, -1).T
    squares = ((points[:, None] - points) ** 2).sum(-1)
    near = (np.exp(-squares / 2.0**2).sum() - 135) / (135 * 134)
    counts: dict[tuple[str, str], list[int]] = {pair: [] for pair in CONNECTIONS}
    for seed in range(40):
        net = liquid(seed=seed)
        sizes = {group.name: group.size for group in net.groups}
        assert sizes == {"input": 4, "excitatory": 108, "inhibitory": 27}
        for pair, projection in inner(net).items():
            counts[pair].append(len(projection))
            table = projection.table()
            assert pair[0] != pair[1] or (table["pre"] != table["post"]).all()
    for (pre, post), (probability, *_) in CONNECTIONS.items():
        pairs = sizes[pre] * (sizes[post] - (pre == post))
        found = np.array(counts[pre, post])
        error = SIGMAS * found.std(ddof=1) / math.sqrt(len(found))
        assert found.mean() == pytest.approx(probability * near * pairs, abs=error)


@pytest.mark.parametrize("settled", [20.0, None])
def test_strengths_are_spread_as_widely_as_they_are_large(settled: float | None) -> None:
    net = liquid(scale=60.0, seed=2, settled=settled)
    for pair, (_, strength, delay, kinds) in CONNECTIONS.items():
        table = inner(net)[pair].table()
        size = table["weight"] * np.sign(strength)
        mean = abs(strength) * 1e3
        if settled is not None:
            mean *= efficacy(*DYNAMICS[kinds], settled)
        assert table["delay"] == pytest.approx(delay), pair
        assert size.min() > 0
        assert size.mean() == pytest.approx(mean, rel=SIGMAS / math.sqrt(len(size)))
        assert size.std() == pytest.approx(mean, rel=SIGMAS * math.sqrt(2 / len(size)))
    for post, mean in (("excitatory", 18e3), ("inhibitory", 9e3)):
        given = next(p for p in net.projections if (p.pre.name, p.post.name) == ("input", post))
        share = len(given) / (given.pre.size * given.post.size)
        assert share == pytest.approx(0.3, abs=0.03)
        assert given.table()["weight"].mean() == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize("kinds", DYNAMICS)
@pytest.mark.parametrize("rate", [0.1, 20.0, 100.0])
def test_efficacy_is_where_the_dynamic_synapse_settles(kinds: str, rate: float) -> None:
    """Spike after spike by the recursion of Markram, Wang and Tsodyks (1998)."""
    use, recovery, facilitation = DYNAMICS[kinds]
    interval = 1e3 / rate
    u, left = use, 1.0
    for _ in range(3000):
        u, left = (
            use + u * (1 - use) * math.exp(-interval / facilitation),
            1 + (left - left * u - 1) * math.exp(-interval / recovery),
        )
    assert efficacy(use, recovery, facilitation, rate) == pytest.approx(u * left, rel=1e-9)
    if rate == 0.1:
        assert u * left == pytest.approx(use, rel=0.01)


@pytest.mark.parametrize("settled", [20.0, None])
def test_activity_lives_from_the_input_and_forgets_it(settled: float | None) -> None:
    def rates(input_rate: float, ms: float) -> list[float]:
        net = liquid(seed=1, input_rate=input_rate, settled=settled)
        net.run(200.0)  # from first potentials near the threshold
        probes = [net.probe(group, "spikes") for group in net.groups[1:]]
        net.run(ms)
        return [probe.rate for probe in probes]

    assert rates(0.0, 500.0) == [0.0, 0.0]
    assert all(2.0 < rate < 50.0 for rate in rates(20.0, 2000.0))


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("liquid_state_machine", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_states_are_filtered_spikes(example: ModuleType) -> None:
    times, senders = np.array([3.0, 25.0, 25.1, 700.0]), np.array([0, 1, 0, 0])
    found = example.states(times, senders, 2, 4)
    assert found.shape == (4, 10, 2)
    ends = 25.0 * np.arange(1, 41)
    for neuron in (0, 1):
        passed = ends[:, None] - times[senders == neuron]
        expected = np.where(passed >= 0, np.exp(-np.abs(passed) / 30.0), 0.0).sum(1)
        np.testing.assert_allclose(found[..., neuron].ravel(), expected, rtol=1e-12)


def test_a_linear_readout_needs_the_liquid(example: ModuleType) -> None:
    found, net = example.experiment(0, 400)
    assert net.neurons == 135
    told = {name: values[3:10].mean() for name, values in found.items()}
    assert told["liquid"] > 0.75
    assert told["liquid"] > told["input"] + 0.2
    assert told["shuffled"] == pytest.approx(1 / 8, abs=0.06)
    # Half a segment later it has forgotten.
    assert found["liquid"][-1] < 0.3


def test_bad_numbers_are_refused() -> None:
    net = Network(dt=0.1)
    source = net.spikes([1.0], [0], 1)
    for keys, message in (
        ({"length": 0.0}, "length must be > 0 and finite, got 0.0"),
        ({"settled": math.nan}, "settled must be > 0 and finite, got nan"),
        ({"grid": (2, 1, 1)}, r"a grid of \(2, 1, 1\) has no neurons of both kinds"),
    ):
        with pytest.raises(UserError, match=message):
            column(net, source, **keys)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="leaves 0 of 15"):
        liquid(scale=0.01)
