"""What a projection is: its delays, its receptor, its table."""

import numpy as np

from spikesim.network import (
    DistanceDependent,
    Explicit,
    FixedProbability,
    FlatProfile,
    Network,
    OneToOne,
    Uniform,
)
from spikesim.neurons import LIFDelta, LIFExp


def test_drawn_delays_are_whole_steps_and_one_at_least() -> None:
    net = Network(dt=0.5)
    cells = net.population(LIFDelta(), 100)
    projection = net.connect(cells, cells, FixedProbability(0.2), delay=Uniform(0.0, 3.0))
    delays = np.unique(projection.table()["delay"])
    assert delays.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert projection.delay is None


def test_delays_of_distances_are_whole_steps_and_one_at_least() -> None:
    net = Network(dt=0.5)
    points = np.array([[0.0], [0.7], [2.0]])
    cells = net.population(LIFDelta(), 3)
    rule = DistanceDependent(FlatProfile(), points)
    projection = net.connect(cells, cells, rule, delay=lambda distance: distance)
    ms = [0.5, 0.5, 2.0, 0.5, 0.5, 1.5, 2.0, 1.5, 0.5]  # of 0, 0.7, 2, 0.7, 0, 1.3, 2, 1.3, 0
    assert projection.table()["delay"].tolist() == ms
    same = net.connect(cells, cells, rule, delay=lambda distance: 1.3)
    assert same.table()["delay"].tolist() == [1.5] * 9


def test_weights_choose_the_receptor_by_their_sign() -> None:
    net = Network()
    cells, source = net.population(LIFExp(), 3), net.spikes([1.0], [0], 3)
    assert net.connect(source, cells, OneToOne(), weight=2.0).receptor == "excitatory"
    drawn = net.connect(source, cells, OneToOne(), weight=Uniform(-2.0, 0.0))
    assert drawn.receptor == "inhibitory"
    named = net.connect(source, cells, OneToOne(), weight=-1.0, receptor="excitatory")
    assert named.receptor == "excitatory"
    assert net.poisson(cells, 1.0, -1.0).receptor == "inhibitory"
    assert net.current(cells, 1.0).receptor == "current"


def test_a_table_lists_all_synapses() -> None:
    net = Network(dt=0.5)
    cells = net.population(LIFDelta(), 3)
    pre, post = [2, 0, 2, 1], [0, 1, 2, 1]
    given = net.connect(
        cells, cells, Explicit(pre, post), weight=[1.0, 2.0, 3.0, 4.0], delay=[1.0, 0.5, 2.0, 0.5]
    )
    expected = {
        "pre": [0, 1, 2, 2],
        "post": [1, 1, 0, 2],
        "weight": [2.0, 4.0, 1.0, 3.0],
        "delay": [0.5, 0.5, 1.0, 2.0],
    }
    for _ in range(2):
        table = given.table()
        assert {name: values.tolist() for name, values in table.items()} == expected
        net.run(0.5)  # which stores the weights in quanta
