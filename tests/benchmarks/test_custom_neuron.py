"""The neuron of ``examples/custom_neuron.py``: 15 lines, right by hand, and it learns."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_neuron.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_neuron", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where inspect looks for the source
    spec.loader.exec_module(module)
    return module


def test_it_has_fifteen_lines(example: ModuleType) -> None:
    lines = [line for line in inspect.getsource(example.QIF).splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_it_follows_its_equation(example: ModuleType, backend: str) -> None:
    x = np.random.default_rng(0).normal(0.5, 1.5, (40, 7))
    v, wanted = np.zeros(7), []
    for drive in x:
        v = v + (v * (v - 0.6) + drive) / 4.0
        wanted.append(v >= 1.0)
        v = np.where(v >= 1.0, 0.0, v)
    neuron = example.QIF(tau=4.0, v_critical=0.6)
    neuron.backend = backend
    spikes = neuron(torch.from_numpy(x))
    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(spikes.numpy().astype(bool), np.array(wanted))


def test_it_learns_its_critical_voltage(example: ModuleType) -> None:
    """Kernel and reference agree on the gradient of a parameter nobody told them about."""
    x, up = torch.randn(20, 3, 5) + 0.5, torch.randn(20, 3, 5)
    grads = []
    for backend in ("auto", "torch"):
        neuron = example.QIF(v_critical=torch.linspace(0.5, 0.9, 5), learn=("v_critical",))
        neuron.backend = backend
        neuron(x).backward(up)
        grads.append(neuron.raw_v_critical.grad)
    assert grads[0].abs().min() > 0
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)


def test_the_example_prints_what_it_claims() -> None:
    command = [sys.executable, str(EXAMPLE), "--epochs", "1", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    share = re.search(r"(\d+)% of 100 others right", done.stdout)
    assert share is not None, done.stdout
    assert int(share[1]) >= 30
    assert "backend=torch" in done.stdout
    assert "times faster" in done.stdout
