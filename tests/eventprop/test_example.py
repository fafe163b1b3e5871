"""The example at a small size."""

import importlib.util
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).parents[2] / "examples" / "eventprop_delays.py"


def test_delays_are_learned_and_gradients_converge(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("eventprop_delays", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    network, course = example.train("learned delays", 0, 6, 900)
    fixed, _ = example.train("fixed random delays", 0, 1, 300)
    before = example.KINDS["fixed random delays"].delay
    assert course[-1] > 0.7  # a third by chance
    delays = network.layers[0].delay.detach()
    assert float(delays.max()) > before[1]
    assert fixed.layers[0].delay.grad is None
    errors = example.convergence(network, 12)
    assert np.all(errors[-1] < 0.1 * errors[0])
    example.draw(str(tmp_path / "a.png"), {name: np.array([course]) for name in example.KINDS},
                 network, errors)  # fmt: skip
    assert (tmp_path / "a.png").stat().st_size > 20_000
