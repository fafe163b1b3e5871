"""Every example in a docstring runs."""

import doctest
import importlib
from pathlib import Path

import pytest

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
