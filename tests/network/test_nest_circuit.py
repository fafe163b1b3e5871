"""A recurrent circuit, synapse by synapse the same in NEST: membranes and spikes.

NEST may live in an interpreter of its own, which ``SPIKESIM_NEST_PYTHON`` names.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikesim.network import Explicit, Network
from spikesim.neurons import LIFAlpha, LIFDelta, LIFExp
from spikesim.neurons.linear_lif import LinearLIF

pytestmark = pytest.mark.peers

PYTHON = os.environ.get("SPIKESIM_NEST_PYTHON", sys.executable)
SCRIPT = Path(__file__).with_name("nest_circuit.py")
DT, DURATION, SOURCES, NEURONS = 0.1, 300.0, 8, 12
CELL = {"tau_m": 12.0, "t_ref": 1.5}
THEIRS = {**CELL, "C_m": 200.0, "E_L": -68.0, "V_m": -68.0, "V_th": -56.0, "V_reset": -65.0}
OURS = {**CELL, "c_m": 200.0, "e_l": -68.0, "v_threshold": -56.0, "v_reset": -65.0}
KINDS: dict[type[LinearLIF], tuple[str, float]] = {
    LIFDelta: ("iaf_psc_delta", 1.5),
    LIFExp: ("iaf_psc_exp", 250.0),
    LIFAlpha: ("iaf_psc_alpha", 120.0),
}


def circuit(size: float) -> tuple[list[list[float]], np.ndarray, np.ndarray, np.ndarray]:
    """Trains of sources; pairs ``[2, synapses]``, weights and delays (steps) of synapses.

    Some pairs are connected more than once, with different delays; weights are multiples of 2**-20.
    """
    random = np.random.default_rng(2)
    trains = [
        (np.sort(random.choice(np.arange(10, 2900), 60, replace=False)) * DT).round(6).tolist()
        for _ in range(SOURCES)
    ]
    count = 150
    pairs = np.stack(
        [random.integers(0, SOURCES + NEURONS, count), random.integers(0, NEURONS, count)]
    )
    weights = np.rint(size * random.normal(0.6, 1.0, count) * 2.0**20) / 2.0**20
    return trains, pairs, weights, random.integers(1, 65, count)


@pytest.mark.parametrize("kind", KINDS)
def test_membranes_and_spikes_equal_nests(kind: type[LinearLIF]) -> None:
    if subprocess.run([PYTHON, "-c", "import nest"], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no NEST; name one that has in SPIKESIM_NEST_PYTHON")
    model, size = KINDS[kind]
    trains, (pre, post), weights, delays = circuit(size)
    synapses = {} if kind is LIFDelta else {"tau_syn_ex": 3.0, "tau_syn_in": 7.0}
    asked = {
        "model": model,
        "parameters": {**THEIRS, **synapses},
        "count": NEURONS,
        "dt": DT,
        "duration": DURATION,
        "trains": trains,
        "synapses": [
            (int(i), int(j), float(w), round(int(d) * DT, 6))
            for i, j, w, d in zip(pre, post, weights, delays, strict=True)
        ],
    }
    done = subprocess.run(
        [PYTHON, str(SCRIPT)], input=json.dumps(asked), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])

    net = Network(dt=DT, dtype="float64")
    times = [(t, i) for i, train in enumerate(trains) for t in train]
    source = net.spikes(*zip(*times, strict=True), SOURCES)
    ours = {} if kind is LIFDelta else {"tau_ex": 3.0, "tau_in": 7.0}
    cells = net.population(kind(**OURS, **ours), NEURONS)
    for group, first, last in ((source, 0, SOURCES), (cells, SOURCES, SOURCES + NEURONS)):
        for sign in (1.0, -1.0):
            mine = (pre >= first) & (pre < last) & (np.sign(weights) == sign)
            net.connect(
                group,
                cells,
                Explicit(pre[mine] - first, post[mine]),
                weight=weights[mine],
                delay=delays[mine] * DT,
            )
    spikes, v = net.probe(cells, "spikes"), net.probe(cells, "v")
    net.run(DURATION)
    expected = sorted(zip(np.rint(np.array(theirs["times"]) / DT), theirs["senders"], strict=True))
    found = zip(spikes.steps.tolist(), spikes.senders.tolist(), strict=True)
    assert len(expected) > 100
    assert len({sender for _, sender in expected}) > NEURONS // 2
    assert [(step + 1, sender) for step, sender in found] == [
        (step, sender) for step, sender in expected if step <= round(DURATION / DT)
    ]
    assert np.abs(v.values - np.array(theirs["v"]).T).max() <= 1e-11
