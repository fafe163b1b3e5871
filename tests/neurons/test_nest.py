"""Membranes against NEST's, for the same input spikes.

NEST may live in an interpreter of its own, which ``SPIKESIM_NEST_PYTHON`` names.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesim.neuron import Neuron
from spikesim.neurons import AdEx, Izhikevich, LIFAlpha, LIFCondExp, LIFDelta, LIFExp

pytestmark = pytest.mark.peers

PYTHON = os.environ.get("SPIKESIM_NEST_PYTHON", sys.executable)
DURATION = 400.0  # ms

LIF = {"tau_m": 12.0, "C_m": 200.0, "E_L": -68.0, "V_m": -68.0, "V_th": -56.0, "V_reset": -65.0}
OUR_LIF = {"tau_m": 12.0, "c_m": 200.0, "e_l": -68.0, "v_threshold": -56.0, "v_reset": -65.0}
SYNAPSES = {"tau_syn_ex": 3.0, "tau_syn_in": 7.0}
OURS = {"tau_ex": 3.0, "tau_in": 7.0}
CELL = {"C_m": 200.0, "g_L": 10.0, "E_L": -60.0, "V_m": -60.0, "V_th": -50.0, "V_reset": -62.0}
REVERSAL = {"E_ex": 0.0, "E_in": -80.0}
EXACT = {"gsl_error_tol": 1e-12}


@dataclass(frozen=True)
class Case:
    """A model in both, with input spikes whose weights are normal."""

    model: str
    theirs: dict[str, float]
    ours: Callable[..., Neuron]
    options: dict[str, object]
    mean: float
    spread: float
    tolerance: float
    """Largest difference, mV, where both have fired the same spikes."""
    shift: float = 0.0
    """Of a spike, ms: NEST divides a step at an upstroke, we do not."""
    dt: float = 0.1
    fires: bool = True
    key: int = field(default=5)


def adex(reversal: bool, dt: float, fires: bool, tolerance: float) -> Case:
    cell = {"C_m": 281.0, "g_L": 30.0, "E_L": -70.6, "V_m": -70.6, "V_th": -50.4, "Delta_T": 2.0}
    rest = {"a": 4.0, "b": 80.5, "tau_w": 144.0, "V_peak": 0.0, "V_reset": -70.6, "t_ref": 2.0}
    theirs = {**cell, **rest, **SYNAPSES, **EXACT, **(REVERSAL if reversal else {})}
    ours = {"v_peak": 0.0, "t_ref": 2.0, "scheme": "rk4", **OURS}
    if not reversal:
        ours |= {"e_ex": None, "e_in": None}
    mean, spread = (12.0, 14.0) if reversal else (600.0, 700.0)
    if not fires:
        mean, spread = mean / 3, spread / 3
    name = "aeif_cond_exp" if reversal else "aeif_psc_exp"
    return Case(name, theirs, AdEx, ours, mean, spread, tolerance, 1.01 * dt, dt, fires)


CASES = {
    "delta": Case("iaf_psc_delta", LIF, LIFDelta, OUR_LIF, 1.5, 5.0, 1e-11),
    "exp": Case("iaf_psc_exp", {**LIF, **SYNAPSES}, LIFExp, {**OUR_LIF, **OURS}, 300, 400, 1e-11),
    "exp of one time": Case(
        "iaf_psc_exp",
        {**LIF, "tau_syn_ex": 12.0, "tau_syn_in": 12.0},
        LIFExp,
        {**OUR_LIF, "tau_ex": 12.0, "tau_in": 12.0},
        *(100, 100, 1e-11),
    ),
    "alpha": Case(
        "iaf_psc_alpha", {**LIF, **SYNAPSES}, LIFAlpha, {**OUR_LIF, **OURS}, 200, 300, 1e-11
    ),
    "conductance": Case(
        "iaf_cond_exp",
        {**CELL, **SYNAPSES, **REVERSAL, "t_ref": 3.0},
        LIFCondExp,
        {"v_reset": -62.0, "t_ref": 3.0, "scheme": "rk4", **OURS},
        *(3.0, 6.0, 1e-6),
    ),
    "Izhikevich": Case(
        "izhikevich",
        {"V_m": -65.0, "U_m": -13.0, "consistent_integration": False},
        Izhikevich,
        {},
        *(30.0, 20.0, 1e-9),
        dt=1.0,
    ),
    "AdEx conductances, silent": adex(True, 0.1, False, 1e-5),
    "AdEx currents, silent": adex(False, 0.1, False, 1e-5),
    "AdEx conductances": adex(True, 0.01, True, 0.05),
    "AdEx currents": adex(False, 0.01, True, 0.05),
}


def spikes_in(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Arrival, in steps of ``dt``, and weights; one at most in a step."""
    draw = np.random.default_rng(case.key)
    times = np.unique(draw.integers(20, int(DURATION - 20), 120))
    return times / case.dt, draw.normal(case.mean, case.spread, len(times))


@pytest.fixture(scope="module")
def traces() -> dict[str, dict[str, list[float]]]:
    """Of all cases, from one start of NEST."""
    script = Path(__file__).with_name("nest_membranes.py")
    test = subprocess.run([PYTHON, "-c", "import nest"], capture_output=True, check=False)
    if test.returncode:
        pytest.skip(f"{PYTHON} has no NEST; name one that has in SPIKESIM_NEST_PYTHON")
    asked = []
    for case in CASES.values():
        steps, weights = spikes_in(case)
        asked.append(
            {
                "model": case.model,
                "parameters": case.theirs,
                "dt": case.dt,
                "duration": DURATION,
                "times": (steps * case.dt).round(6).tolist(),
                "weights": weights.tolist(),
            }
        )
    command = [PYTHON, str(script)]
    done = subprocess.run(command, input=json.dumps(asked), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_membrane_equals_nests(name: str, traces: dict[str, dict[str, list[float]]]) -> None:
    case = CASES[name]
    neuron = case.ours(dt=case.dt, **case.options)
    count = round(DURATION / case.dt)
    x = {of: torch.zeros(count, 1, 1, dtype=torch.float64) for of in neuron.inputs}
    steps, weights = spikes_in(case)
    for step, weight in zip(steps.round().astype(int), weights, strict=True):
        # What arrives at the end of a step is that step's input.
        receptor = neuron.inputs[0] if weight >= 0 or len(x) <= 2 else "inhibitory"
        x[receptor][step - 1] = weight
    rows = neuron.trace(x)
    ours = (rows["output"].flatten().nonzero().flatten().numpy() + 1) * case.dt
    theirs = np.array(traces[name]["spikes"])
    assert (len(theirs) >= 5) == case.fires
    assert len(ours) == len(theirs)
    assert np.abs(ours - theirs).max(initial=0.0) <= case.shift + 1e-9
    difference = np.abs(rows["v"].flatten().numpy() - np.array(traces[name]["v"]))
    if case.shift:
        # Around an upstroke a difference of a step is one of the whole spike.
        t = (1 + np.arange(count)) * case.dt
        difference = difference[np.all(np.abs(t[:, None] - theirs) > 10.0, axis=1)]
        assert len(difference) > 0.2 * count
    assert difference.max() <= case.tolerance
