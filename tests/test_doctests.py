"""Every example in a docstring runs, and the README's."""

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from spikesim.delays import DelayedLinear
from spikesim.models import create
from spikesim.neurons import LIF

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    ".".join(("spikesim", *inside.with_suffix("").parts)).removesuffix(".__init__")
    for folder, parent in (
        ("spikesim", ROOT / "spikesim"),
        *((name, ROOT) for name in ("neurons", "encoders", "datasets", "kernels")),
    )
    for path in (ROOT / folder).rglob("*.py")
    if ">>>" in path.read_text()
    for inside in (path.relative_to(parent),)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0


def test_readme_runs_and_delays_and_weights_learn() -> None:
    own = create("spiking_vgg", preset="tiny", num_classes=2, steps=2)
    names: dict[str, Any] = {"lif": LIF(), "model": own}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    names["values"].square().sum().backward()
    assert all(isinstance(names["model"][n], DelayedLinear) for n in (0, 2))
    assert names["model"][0].delay.grad.any()
    weight = names["synapses"].table()["weight"]
    assert weight.min() < 0.1 < weight.max()
