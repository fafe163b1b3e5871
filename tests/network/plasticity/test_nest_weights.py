"""Weights against NEST's, for the same spikes.

NEST may live in an interpreter of its own, which ``SPIKESIM_NEST_PYTHON`` names.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesim.network.plasticity import PairSTDP, Plasticity, TripletSTDP, VogelsSTDP

pytestmark = pytest.mark.peers

PYTHON = os.environ.get("SPIKESIM_NEST_PYTHON", sys.executable)
DT, DURATION = 0.5, 1000.0
STDP = {"tau_plus": 15.0, "lambda": 0.02, "alpha": 0.9, "Wmax": 2.0}
OURS = {"tau_plus": 15.0, "tau_minus": 28.0, "rate": 0.02, "alpha": 0.9, "w_max": 2.0}
TRIPLET = {"Aplus": 2e-3, "Aplus_triplet": 4e-3, "Aminus": 6e-3, "Aminus_triplet": 1e-3}

CASES: dict[str, tuple[str, dict[str, float], Plasticity]] = {
    "additive": (
        "stdp_synapse",
        {**STDP, "mu_plus": 0.0, "mu_minus": 0.0},
        PairSTDP(**OURS, mu_plus=0.0, mu_minus=0.0),
    ),
    "multiplicative": (
        "stdp_synapse",
        {**STDP, "mu_plus": 1.0, "mu_minus": 1.0},
        PairSTDP(**OURS),
    ),
    "power": (
        "stdp_synapse",
        {**STDP, "mu_plus": 0.4, "mu_minus": 0.7},
        PairSTDP(**OURS, mu_plus=0.4, mu_minus=0.7),
    ),
    "nearest": (
        "stdp_nn_symm_synapse",
        {**STDP, "mu_plus": 0.4, "mu_minus": 0.7},
        PairSTDP(**OURS, mu_plus=0.4, mu_minus=0.7, pairs="nearest"),
    ),
    "triplet": (
        "stdp_triplet_synapse",
        {"tau_plus": 15.0, "tau_plus_triplet": 90.0, "Wmax": 1.0, **TRIPLET},
        TripletSTDP(
            w_max=1.0,
            a2_plus=2e-3,
            a3_plus=4e-3,
            a2_minus=6e-3,
            a3_minus=1e-3,
            tau_plus=15.0,
            tau_x=90.0,
            tau_minus=28.0,
            tau_y=110.0,
        ),
    ),
    "inhibitory": (
        "vogels_sprekeler_synapse",
        {"eta": 0.005, "alpha": 0.2, "tau": 28.0, "Wmax": 5.0, "Kplus": 0.0},
        VogelsSTDP(w_max=5.0, eta=0.005, rate=0.2 / (2 * 28e-3), tau=28.0),
    ),
}


def trains(seed: int, count: int) -> list[list[float]]:
    random = np.random.default_rng(seed)
    steps = 4 + np.arange(int(DURATION / DT) - 200)
    return [(steps[random.random(steps.size) < 0.03] * DT).tolist() for _ in range(count)]


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    """Of all cases, from one start of NEST."""
    test = subprocess.run([PYTHON, "-c", "import nest"], capture_output=True, check=False)
    if test.returncode:
        pytest.skip(f"{PYTHON} has no NEST; name one that has in SPIKESIM_NEST_PYTHON")
    pre, post = trains(1, 4), trains(2, 5)
    # NEST's weights are those after the last spike of the sender; before the first one, its nearest
    # neighbours take the beginning for a spike.
    pre = [[2 * DT, *train, DURATION - 20.0] for train in pre]
    asked = [
        {
            "model": model,
            "parameters": {"weight": 0.5, "delay": 1.0, **parameters},
            "dt": DT,
            "duration": DURATION,
            "pre": pre,
            "post": post,
            "post_parameters": {"tau_minus": 28.0, "tau_minus_triplet": 110.0},
        }
        for model, parameters, _ in CASES.values()
    ]
    script = Path(__file__).with_name("nest_weights.py")
    command = [PYTHON, str(script)]
    done = subprocess.run(command, input=json.dumps(asked), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_weights_equal_nests(name: str, theirs: dict[str, Any], pairing: Any) -> None:
    found = theirs[name]
    pre, post = (
        [np.rint(np.array(train) / DT).astype(np.int64) - 1 for train in found[side]]
        for side in ("pre", "post")
    )
    made = pairing(CASES[name][2], pre, post)
    made.net.run(DURATION)
    ours = made.projection.weights().reshape(len(pre), len(post))
    wanted = np.array(found["weights"])
    assert np.ptp(wanted) > 1e-3
    np.testing.assert_allclose(ours, wanted, rtol=1e-10, atol=1e-12)
