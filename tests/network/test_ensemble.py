"""Networks that run together give what each gives alone."""

import numpy as np
import pytest

from spikesim.errors import UserError
from spikesim.network import Network
from spikesim.network.ensemble import Ensemble
from spikesim.network.recipes import brunel, cuba


def watched(net: Network) -> list[np.ndarray]:
    net.run(15.0)
    return [array for _, array in sorted(net.state_dict().items())]


def test_each_network_has_the_bits_that_it_has_alone() -> None:
    def made() -> list[Network]:
        # Of different delays, and so of different blocks.
        others = [brunel(scale=0.02, seed=seed) for seed in (1, 2)]
        return [*others, cuba(scale=0.05, seed=3)]

    alone = made()
    want = [watched(net) for net in alone]
    together = made()
    spikes = [net.probe(net.groups[0], "spikes") for net in together]
    ensemble = Ensemble(together)
    ensemble.run(4.0)
    ensemble.run(11.0)
    assert ensemble.time == 15.0
    for net, arrays in zip(together, want, strict=True):
        got = [array for _, array in sorted(net.state_dict().items())]
        assert all(map(np.array_equal, got, arrays)), net.seed
    assert len(spikes[0]) > 0
    assert not np.array_equal(spikes[0].senders, spikes[1].senders)


def test_what_an_ensemble_refuses() -> None:
    net = brunel(scale=0.02)
    with pytest.raises(UserError, match="one dt"):
        Ensemble([net, brunel(scale=0.02, dt=0.5)])
    with pytest.raises(UserError, match="different"):
        Ensemble([net, net])
    with pytest.raises(UserError, match="needs networks, got"):
        Ensemble([])
    ensemble = Ensemble([net])
    ensemble.run(1.0)
    with pytest.raises(UserError, match="of an ensemble"):
        net.run(1.0)
    with pytest.raises(UserError, match="not been run"):
        Ensemble([net])
