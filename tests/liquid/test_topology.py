"""Where the synapses of a neuron-astrocyte liquid are."""

import math

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.liquid.topology import PROBABILITIES, Topology, Wiring

SEEDS = 60
LATTICE = {"EE": 0.2, "EI": 0.1, "IE": 0.3, "II": 0.05}


def inner(wiring: Wiring) -> dict[str, int]:
    """Synapses within the liquid, by the kinds of sender and receiver."""
    within = wiring.sender >= wiring.inputs
    kind = np.where(wiring.inhibitory, "I", "E")
    pairs = np.char.add(kind[wiring.sender[within] - wiring.inputs], kind[wiring.target[within]])
    return {kinds: int((pairs == kinds).sum()) for kinds in PROBABILITIES}


def test_liquid_synapses_are_as_many_as_the_lattice_says() -> None:
    """Means over draws against the sum over all pairs of grid points, 3 deviations of the mean."""
    assert PROBABILITIES == LATTICE
    topology = Topology(inputs=3, grid=(5, 5, 5))
    points = np.indices((5, 5, 5)).reshape(3, -1).T
    squares = ((points[:, None] - points) ** 2).sum(-1)
    near = (np.exp(-squares / 9.0).sum() - 125) / (125 * 124)
    found = [inner(topology.draw(seed)) for seed in range(SEEDS)]
    for kinds, probability in LATTICE.items():
        pre, post = (100 if kind == "E" else 25 for kind in kinds)
        expected = probability * near * pre * (post - (kinds[0] == kinds[1]))
        counts = np.array([counted[kinds] for counted in found])
        error = 3.0 * counts.std(ddof=1) / math.sqrt(SEEDS)
        assert counts.mean() == pytest.approx(expected, abs=error)
        assert topology.expected()[kinds] == pytest.approx(expected, rel=1e-12)


def test_a_liquid_has_the_published_numbers() -> None:
    wiring = Topology(inputs=784).draw(1)
    assert wiring.neurons == 1000
    assert wiring.inhibitory.sum() == 200
    given = wiring.sender < 784
    assert given.sum() == math.floor(0.15 * 1000 * 784)
    assert Topology(inputs=7, grid=(2, 2, 2)).draw().indptr[7] == math.floor(0.15 * 8 * 7)
    share = (wiring.sign[given] > 0).mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(given.sum()))
    expected = np.where(wiring.inhibitory[wiring.sender[~given] - 784], -1.0, 1.0)
    np.testing.assert_array_equal(wiring.sign[~given], expected)


def test_no_synapse_occurs_twice_or_returns_to_its_neuron() -> None:
    wiring = Topology(inputs=50, grid=(6, 6, 6)).draw(2)
    pairs = wiring.sender.astype(np.int64) * wiring.neurons + wiring.target
    assert (np.diff(pairs) > 0).all()
    assert (wiring.sender - wiring.inputs != wiring.target).all()


def test_columns_are_the_rows_of_receivers() -> None:
    wiring = Topology(inputs=20, grid=(3, 3, 3)).draw(3)
    starts, synapse = wiring.columns()
    for neuron in range(27):
        mine = synapse[starts[neuron] : starts[neuron + 1]]
        np.testing.assert_array_equal(np.flatnonzero(wiring.target == neuron), mine)


def test_equal_seeds_give_equal_liquids() -> None:
    topology = Topology(inputs=20, grid=(3, 3, 3))
    first, second, other = (topology.draw(seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.target, second.target)
    np.testing.assert_array_equal(first.sign, second.sign)
    assert not np.array_equal(first.sign, other.sign[: first.sign.size])


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(UserError, match=r"density must be in \[0, 1\], got 1.5"):
        Topology(inputs=1, density=1.5)
    with pytest.raises(UserError, match=r"EE must be in \[0, 1\], got -1"):
        Topology(inputs=1, probabilities=PROBABILITIES | {"EE": -1.0})
    with pytest.raises(UserError, match="probabilities must be of EE, EI, IE, II, got EE"):
        Topology(inputs=1, probabilities={"EE": 0.1})
    with pytest.raises(UserError, match="inputs must be"):
        Topology(inputs=0)
    for length in (0.0, -1.0):
        with pytest.raises(UserError, match="length must be > 0, got"):
            Topology(inputs=1, length=length)
    with pytest.raises(UserError, match="axis of grid must be a whole number >= 1, got 0"):
        Topology(inputs=1, grid=(0, 2, 2))
    with pytest.raises(UserError, match="EE must be a finite number, got 'much'"):
        Topology(inputs=1, probabilities=PROBABILITIES | {"EE": "much"})  # type: ignore[dict-item]


def test_a_neuron_alone_has_no_neighbour() -> None:
    topology = Topology(inputs=4, grid=(1, 1, 1), density=1.0)
    assert set(topology.expected().values()) == {0.0}
    assert topology.draw().target.tolist() == [0, 0, 0, 0]
