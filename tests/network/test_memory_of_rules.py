"""What a rule says it needs against what it allocates."""

import tracemalloc

import numpy as np
import pytest

from spikesim.network import (
    AllToAll,
    Convolution,
    DistanceDependent,
    Explicit,
    FixedIndegree,
    FixedOutdegree,
    FixedProbability,
    FixedTotalNumber,
    FlatProfile,
    OneToOne,
    Rule,
    lattice,
)

N = 1500
PAIRS = np.random.default_rng(0).integers(0, N, (2, 300_000))
RULES = [
    (AllToAll(), 1.1),
    (AllToAll(autapses=False), 1.1),
    (OneToOne(), 12.0),
    (FixedProbability(0.2), 1.1),
    (FixedIndegree(300), 1.3),
    (FixedIndegree(1000, multapses=False), 1.3),
    (FixedOutdegree(300), 2.2),
    (FixedTotalNumber(400_000), 2.3),
    (FixedTotalNumber(400_000, multapses=False), 7.0),
    (FixedTotalNumber(2_000_000, multapses=False), 5.0),
    (Explicit(*PAIRS), 3.2),
    (DistanceDependent(FlatProfile(0.7), lattice((30, 50)), period=(30.0, 50.0)), 20.0),
    (Convolution((15, 10, 10), 15, 3, padding=1), 1.5),
]


@pytest.mark.parametrize(("rule", "factor"), RULES, ids=lambda x: type(x).__name__)
def test_estimate_holds_and_is_a_small_multiple_of_the_result(rule: Rule, factor: float) -> None:
    rule.build(N, N, same=True)
    tracemalloc.start()
    try:
        synapses = rule.build(N, N, same=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    estimate = rule.memory(N, N, same=True)
    arrays = (synapses.indptr, synapses.target, synapses.index, synapses.distance)
    result = sum(array.nbytes for array in arrays if array is not None)
    small = 1 << 16  # objects of Python
    assert peak <= estimate + small
    assert estimate <= 2.0 * peak + small
    assert estimate <= factor * result
